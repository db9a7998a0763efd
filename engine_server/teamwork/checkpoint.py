# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes the public Teamwork checkpoint: one safetensors file, tensors named by the layer they adapt."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..whole import whole_file
from .attention import joined_layers
from .config import JOINT_SUFFIX, CheckpointError, TeamConfig, TeamError, shown
from .inject import adapter_shapes, adapters, attach
from .layers import Roster

IMPLEMENTATION = "Teamwork for Blender"
EIGHT_BITS = torch.float8_e4m3fn
"""How a shrunk checkpoint may keep its factors (see `shrink`); read, they are float16, which holds the same numbers."""
NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How files of `torch.save` and pickles begin."""


@dataclass(frozen=True)
class Checkpoint:
    """An adapter file in memory: its configuration, and `{layer path: {"down", "up", "bias"}}`.

    A file that marks attention layers (`<attention path>.adapter`) has joint attention on these, `joined`, whatever its
    profile says.
    """

    path: Path
    config: TeamConfig
    layers: dict[str, dict[str, torch.Tensor]]
    joined: tuple[str, ...] = ()


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read an adapter file. Raises `CheckpointError` if it is missing, cut short, or not a sane Teamwork checkpoint."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no adapter file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: _readable(file.get_tensor(key)) for key in file.keys()}
            joined = tuple(key.removesuffix(".adapter") for key in tensors if key.endswith(".adapter"))
            config = _with_marks(_config(path, file.metadata() or {}), joined)
            layers = _layers(path, tensors)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(_unreadable(path, error)) from error
    return Checkpoint(path, config, layers, joined)


def _readable(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.dtype == EIGHT_BITS else tensor


def _unreadable(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        if file.read(4).startswith(PICKLES):
            return f"{path} is a PyTorch pickle, which could run anything when opened; convert it to safetensors."
    return f"{path} is not a whole safetensors file ({error}); fetch it again."


def _config(path: Path, metadata: dict[str, str]) -> TeamConfig:
    if metadata.get("modelspec.type") != "teamwork":
        raise CheckpointError(f"{path} is not a Teamwork checkpoint: its metadata lack modelspec.type = teamwork.")
    try:
        return TeamConfig(
            teammates=tuple(name.strip() for name in _entry(metadata, "teamwork.teammates").split(",")),
            rank=_whole(metadata, "teamwork.lora_rank"),
            profile=_entry(metadata, "teamwork.profile"),
            communication=_flag(metadata, "teamwork.lora_communication"),
            use_bias=_flag(metadata, "teamwork.use_bias"),
            base_model=_words(metadata, "base_model"),
            title=_words(metadata, "modelspec.title"),
            resolution=metadata.get("modelspec.resolution", ""),
            attn_allow=_list(metadata, "teamwork.attn_allow"),
            teammate_image_ids=_numbers(metadata, "teamwork.teammate_image_ids"),
        )
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _with_marks(config: TeamConfig, joined: tuple[str, ...]) -> TeamConfig:
    return dataclasses.replace(config, profile=config.family + JOINT_SUFFIX) if joined else config


def _entry(metadata: dict[str, str], key: str) -> str:
    if key not in metadata:
        raise TeamError(f"the metadata lack {key}.")
    return metadata[key]


def _words(metadata: dict[str, str], key: str) -> str:
    """A free text, on one line and not without end."""
    return " ".join(metadata.get(key, "").split())[:200]


def _whole(metadata: dict[str, str], key: str) -> int:
    value = _entry(metadata, key)
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise TeamError(f"{key} is {shown(value)}; expected a whole number.")
    return int(value)


def _list(metadata: dict[str, str], key: str) -> tuple[str, ...]:
    """The parts of an entry with semicolons or commas between; none if it is missing or empty."""
    return tuple(part.strip() for part in re.split("[;,]", metadata.get(key, "").strip("[]() ")) if part.strip())


def _numbers(metadata: dict[str, str], key: str) -> tuple[int, ...]:
    parts = _list(metadata, key)
    if not all(re.fullmatch(r"\d{1,9}", part, re.ASCII) for part in parts):
        raise TeamError(f"{key} is {shown(metadata[key])}; expected whole numbers with semicolons between, such as 10;0;0.")
    return tuple(map(int, parts))


def _flag(metadata: dict[str, str], key: str) -> bool:
    value = metadata.get(key, "True")
    if value.lower() not in ("true", "false"):
        raise TeamError(f"{key} is {shown(value)}; expected True or False.")
    return value.lower() == "true"


def _layers(path: Path, tensors: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        layer, _, name = key.rpartition(".adapter.")
        if key.endswith(".adapter") and tensor.numel() == 1:
            continue  # the mark of joint attention has no use as a number
        if not layer or name not in ("down", "up", "bias"):
            raise CheckpointError(f"{path} holds a tensor {shown(key)}, which is no part of a Teamwork adapter.")
        if tensor.dtype not in NUMBERS:
            raise CheckpointError(f"{path}: the tensor {key} is of the type {tensor.dtype}; expected float16, 32 or bfloat16.")
        if not _finite(tensor):
            raise CheckpointError(f"{path}: the tensor {key} holds NaN or infinite values.")
        layers.setdefault(layer, {})[name] = tensor
    if not layers:
        raise CheckpointError(f"{path} holds no adapter tensors.")
    return layers


def _finite(tensor: torch.Tensor) -> bool:
    """Whether all numbers are finite: the least and the largest tell, twenty times faster than a look at each."""
    return tensor.numel() == 0 or all(map(torch.isfinite, torch.aminmax(tensor)))


def load_checkpoint(network: nn.Module, checkpoint: Checkpoint, dtype: torch.dtype, name: str = "") -> Roster:
    """Attach the checkpoint's adapters to a network, exactly; `name` is what the network's base is called.

    Raises `CheckpointError` naming both bases, and the layer that is missing or the tensor whose shape does not fit,
    before anything is attached.
    """
    try:
        _check_fit(network, checkpoint)
        roster = attach(network, checkpoint.layers, checkpoint.config, dtype, checkpoint.joined, device="meta")
    except TeamError as error:
        config = checkpoint.config
        made_for = f"{config.base_model} ({config.profile})" if config.base_model else config.profile
        here = name or type(network).__name__
        raise CheckpointError(f"{checkpoint.path} was made for {made_for} and does not fit {here}: {error}") from error
    for layer, adapter in adapters(network).items():
        _fill(adapter, checkpoint.layers[layer], dtype, next(network.get_submodule(layer).parameters()).device)
    return roster


def _check_fit(network: nn.Module, checkpoint: Checkpoint) -> None:
    for layer, given in checkpoint.layers.items():
        wanted = adapter_shapes(network, layer, checkpoint.config)
        odd = sorted(set(given) ^ set(wanted))
        if odd:
            fault = "is missing" if odd[0] in wanted else "has no place there"
            raise TeamError(f"the tensor {layer}.adapter.{odd[0]} {fault}.")
        for name, shape in wanted.items():
            if given[name].shape != shape:
                shapes = f"{tuple(given[name].shape)}, but the base asks for {shape}"
                raise TeamError(f"{layer}.adapter.{name} has the shape {shapes}.")


def _fill(adapter: nn.Module, given: dict[str, torch.Tensor], dtype: torch.dtype, device: torch.device) -> None:
    for name, tensor in given.items():  # a copy, as the file may change under what was read from it
        setattr(adapter, name, nn.Parameter(tensor.to(device, dtype, copy=True)))


def save_checkpoint(path: Path | str, network: nn.Module, config: TeamConfig, dtype: torch.dtype | None = None) -> None:
    """Write the network's adapters in the public format; the file appears whole or not at all."""
    layers = {layer: dict(adapter.named_parameters()) for layer, adapter in adapters(network).items()}
    write_checkpoint(Checkpoint(Path(path), config, layers, tuple(joined_layers(network))), dtype)


def write_checkpoint(checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> None:
    """Write a checkpoint to its path in the public format; the file appears whole or not at all. Eight bits stay eight bits."""
    tensors = {
        f"{layer}.adapter.{name}": tensor.detach().to("cpu", tensor.dtype if tensor.dtype == EIGHT_BITS else dtype).contiguous()
        for layer, parts in checkpoint.layers.items()
        for name, tensor in parts.items()
    }
    tensors |= {f"{layer}.adapter": torch.zeros(()) for layer in checkpoint.joined}
    with whole_file(checkpoint.path) as partial:
        save_file(tensors, partial, metadata=_metadata(checkpoint.config))


def _metadata(config: TeamConfig) -> dict[str, str]:
    metadata = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.type": "teamwork",
        "modelspec.architecture": f"{config.base_model or config.family}/teamwork",
        "modelspec.title": config.title or "Teamwork",
        "modelspec.implementation": IMPLEMENTATION,
        "base_model": config.base_model,
        "teamwork.version": "1.0",
        "teamwork.teammates": ",".join(config.teammates),
        "teamwork.lora_rank": str(config.rank),
        "teamwork.lora_communication": str(config.communication),
        "teamwork.use_bias": str(config.use_bias),
        "teamwork.profile": config.profile,
    }
    may_be_missing = {
        "modelspec.resolution": config.resolution,
        "teamwork.attn_allow": ";".join(config.attn_allow),
        "teamwork.teammate_image_ids": ";".join(map(str, config.teammate_image_ids)),
    }
    return metadata | {key: value for key, value in may_be_missing.items() if value}
