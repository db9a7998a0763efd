# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads a base from a diffusers folder or hub name, and puts a team on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import diffusers
import torch
from safetensors import SafetensorError

from ..teamwork.checkpoint import load_checkpoint, read_checkpoint
from ..teamwork.config import CheckpointError, TeamConfig, TeamError
from ..teamwork.team import Team
from .base import Base
from .prompts import empty_prompt
from .flux import Flux
from .flux2 import Flux2
from .sd3 import SD3
from .unet import unet_kind
from .zimage import ZImage

BUNDLED = Path(__file__).parent.parent / "bundled"
TEAM_FILE = "team.safetensors"
NETWORKS: dict[str, Callable[[Mapping], type[Base]]] = {
    "SD3Transformer2DModel": lambda config: SD3,
    "FluxTransformer2DModel": lambda config: Flux,
    "Flux2Transformer2DModel": lambda config: Flux2,
    "ZImageTransformer2DModel": lambda config: ZImage,
    "UNet2DConditionModel": unet_kind,
}
"""Which base answers for which diffusers network class, given its configuration."""


VAES = ("AutoencoderKL", "AutoencoderKLFlux2", "AutoencoderDC")


def bundled_teams() -> list[str]:
    """Names of the teams that come with this package."""
    return sorted(p.parent.name for p in BUNDLED.glob(f"*/{TEAM_FILE}"))


def load_team(
    base: str | Path = "nano", adapter: str | Path | None = None, device: str = "cpu", dtype: str = "float32"
) -> Team:
    """Load a team: a bundled one by its name, a team's folder, or a base (folder or hub name) with an adapter file.

    A team's folder holds `base/`, `team.safetensors`, `team.json` and perhaps more adapters, which `adapter` names by their
    file. `dtype` is float32, bfloat16 or float16. Raises `TeamError` (a ValueError) with a sentence that says what is wrong.
    """
    precision = getattr(torch, dtype, None)
    if precision not in (torch.float32, torch.bfloat16, torch.float16):
        raise TeamError(f"dtype is {dtype!r}; expected float32, bfloat16 or float16.")
    _check_device(device)
    base, adapter, settings = _resolved(str(base), adapter)
    checkpoint = read_checkpoint(adapter)
    frozen = load_base(base, device, precision)
    if checkpoint.config.family != frozen.family:
        raise CheckpointError(
            f"{checkpoint.path} was made for {checkpoint.config.family}, but {frozen.name} is a {frozen.family} base."
        )
    roster = load_checkpoint(frozen.network, checkpoint, precision)
    with open(adapter, "rb") as file:
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    facts = {name: settings[name] for name in ("default_steps", "zero_start", "tile", "lapped") if name in settings}
    facts |= {name: settings.get(name, {}).get(Path(adapter).name, 1) for name in ("turns", "shifts")}
    return Team(frozen, roster, native_size=_native_size(checkpoint.config, settings), fingerprint=fingerprint, **facts)


def _native_size(config: TeamConfig, settings: dict) -> int | None:
    """The side of the pictures that an adapter was trained on, as its metadata ("256x256") or else the team's facts say."""
    sides = [int(side) for side in config.resolution.lower().split("x") if side.strip().isdecimal()]
    return max(sides) if sides else settings.get("native_size")


def _check_device(device: str) -> None:
    """Raise `TeamError` if this computer has no such device."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise TeamError(f"The device {device!r} is not there ({_first_line(error)}); cpu always is.") from error


def _resolved(base: str, adapter: str | Path | None) -> tuple[str | Path, str | Path, dict]:
    """The base, the adapter's file and the settings that `load_team` was asked for."""
    folder = next((f for f in (Path(base), BUNDLED / base) if (f / TEAM_FILE).is_file() and (f / "base").is_dir()), None)
    inside = folder / (adapter or TEAM_FILE) if folder else None
    if inside and inside.is_file():
        return folder / "base", inside, _settings(folder / "team.json")
    if adapter is None:
        names = ", ".join(bundled_teams()) or "none"
        raise TeamError(f"There is no bundled team {base!r} (there are: {names}); for another base give adapter=, too.")
    return base, adapter, {}


def _settings(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise TeamError(f"{path} is not a JSON file.") from error


def load_base(source: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Base:
    """Load the network, VAE and scheduler of a base, and its empty prompt.

    Raises `TeamError` if the folder is not a diffusers base, is cut short, or is of a kind that is not known.
    """
    try:
        subfolder, kind, network_class = _recognise(source)
        network = network_class.from_pretrained(source, subfolder=subfolder, torch_dtype=dtype)
        vae = _class(source, "vae", VAES)[0].from_pretrained(source, subfolder="vae", torch_dtype=dtype)
        scheduler = _class(source, "scheduler")[0].from_pretrained(source, subfolder="scheduler")
        return kind(network.to(device), vae.to(device), scheduler, empty_prompt(kind, source, device), name=str(source))
    except (OSError, SafetensorError) as error:
        raise TeamError(f"The base {source} cannot be loaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _recognise(source: str | Path) -> tuple[str, type[Base], type]:
    for subfolder in ("transformer", "unet"):
        try:
            network_class, config = _class(source, subfolder, tuple(NETWORKS))
        except OSError:
            continue
        return subfolder, NETWORKS[network_class.__name__](config), network_class
    raise TeamError(f"{source} is not a diffusers base: no transformer/config.json or unet/config.json was found there.")


def _class(source: str | Path, subfolder: str, known: tuple[str, ...] = ()) -> tuple[type, Mapping]:
    """The diffusers class that a subfolder's configuration names, and that; raises `TeamError` if it is none of `known`."""
    loader = diffusers.DDIMScheduler if subfolder == "scheduler" else diffusers.AutoencoderKL  # for their file names only
    config = loader.load_config(source, subfolder=subfolder)
    name = config.get("_class_name", "")
    if not hasattr(diffusers, name) or (known and name not in known):
        raise TeamError(f"The {subfolder} of {source} is a {name or 'network without a name'}; known: {', '.join(known)}.")
    return getattr(diffusers, name), config
