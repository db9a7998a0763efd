# SPDX-License-Identifier: GPL-3.0-or-later
"""Second stage: the base, a small network that models single pictures in the VAE's latent space."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, UNet2DConditionModel

from ..diffusion.base import Base, Prompt
from ..diffusion.components import FAULTS
from ..diffusion.loading import load_base
from ..diffusion.prompts import FILE, write_prompt
from ..diffusion.sd3 import SD3
from ..diffusion.unet import SD2
from ..diffusion.words import FILE as WORDS
from ..diffusion.words import Words, write_words
from ..errors import first_line
from ..whole import whole_folder
from .config import TrainConfig
from .errors import ConfigError
from .flow import draw_sigmas, flow_loss, noised
from .images import CropSource
from .options import options_of
from .ranks import Ranks
from .seeds import seeds


def new_base(config: TrainConfig, shift: float = 1.0) -> Base:
    """A fresh base on the trained VAE at `config.base`, with one zero token as its only prompt, trained by flow matching.

    A configuration with `block_out_channels` is that of a UNet, any other that of an SD3 transformer.
    """
    torch.manual_seed(config.seed)
    vae, told = _trained_vae(config.base), config.network
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    _check_network(told, vae.config.latent_channels)
    if "block_out_channels" in told:
        prompt = Prompt(torch.zeros(1, 1, told["cross_attention_dim"]))
        return SD2(UNet2DConditionModel.from_config(told), vae, scheduler, prompt)
    prompt = Prompt(torch.zeros(1, 1, told["joint_attention_dim"]), torch.zeros(1, told["pooled_projection_dim"]))
    return SD3(SD3Transformer2DModel.from_config(told), vae, scheduler, prompt)


def _check_network(told: dict, channels: int) -> None:
    """Raises `ConfigError` where a fresh base's [network] lacks a number, or is for other latents than its autoencoder's."""
    unet = "block_out_channels" in told
    for name in ("cross_attention_dim",) if unet else ("joint_attention_dim", "pooled_projection_dim"):
        if not isinstance(told.get(name), int):
            raise ConfigError(f"[network] has no whole number as {name}; a fresh base needs it.")
    for name in ("in_channels", "out_channels"):
        if (count := told.get(name, 4 if unet else 16)) != channels:
            raise ConfigError(f"[network] has {count} {name}, but the latents of the autoencoder have {channels}.")


def check_crops(base: Base, crops: Iterable[int]) -> None:
    """Raises `ConfigError` for crops that a base cannot take."""
    multiple, largest = base.multiple, base.largest
    for crop in crops:
        if crop % multiple or (largest and crop // base.factor > largest):
            limit = f" of at most {largest * base.factor}" if largest else ""
            raise ConfigError(f"crop is {crop}; {base.name or 'this base'} takes multiples of {multiple} pixels{limit}.")


def _trained_vae(place: str) -> AutoencoderDC:
    try:
        return AutoencoderDC.from_pretrained(place, subfolder="vae")
    except FAULTS as error:
        hint = "train one with the stage vae, and name its output"
        raise ConfigError(f"`base` is {place!r}, of which no autoencoder can be loaded ({first_line(error)}): {hint}.") from error


def require_base(base: str, recipe: Path) -> None:
    """Raise `ConfigError` where a recipe's `base` is a path, not a hub's name, and leads to no folder."""
    if not base or Path(base).is_dir():
        return
    steps = sorted({*recipe.parent.glob("*.toml"), *recipe.absolute().parent.parent.glob("*.toml")})
    before = next((step for step in steps if _leaves(step, base)), None)
    local = "/" in base and Path(base).parent.is_dir()
    if before is None and not local and re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", base):
        return
    how = f"train {before} first" if before else "first take the step before, which makes it"
    raise ConfigError(f"There is no folder {base}, the `base` of {recipe}: {how}, or name a folder that is there.")


def _leaves(recipe: Path, folder: str) -> bool:
    """Is a folder the output of a recipe, or in it?"""
    try:
        output = tomllib.loads(recipe.read_text("utf-8")).get("output")
    except (OSError, ValueError):
        return False
    return isinstance(output, str) and Path(folder).is_relative_to(output)


def save_base(base: Base, folder: Path) -> None:
    """Write a base in diffusers layout, its empty prompt and its words included; each part appears whole or not at all."""
    network = "unet" if isinstance(base.network, UNet2DConditionModel) else "transformer"
    for name, part in ((network, base.network), ("vae", base.vae), ("scheduler", base.template)):
        with whole_folder(folder / name) as place:
            part.save_pretrained(place)
    write_prompt(folder / FILE, base.prompt)
    if isinstance(base.encode_prompts, Words):
        write_words(folder / WORDS, base.encode_prompts)


def has_network(folder: str) -> bool:
    """Whether a base's folder has more than an autoencoder."""
    return any((Path(folder) / name).is_dir() for name in ("unet", "transformer"))


def trainable_base(config: TrainConfig, shift: float, device: str) -> Base:
    """The base in the folder `config.base`, in float32, or a fresh one of `config.network` if there is only a VAE."""
    if has_network(config.base):
        return load_base(config.base, device)
    if not config.network:
        raise ConfigError(f"{config.base} holds no network to go on from; describe a fresh one in [network].")
    base = new_base(config, shift)
    base.network.to(device), base.vae.to(device)
    base.prompt = base.prompt.to(device)
    return base


class BaseStage:
    """Flow matching on crops of pictures of every kind: photos, albedo, normals, masks.

    The crops are encoded once into a pool of latents, `options.pool` of them, since the VAE would cost as much as the
    transformer.
    """

    def __init__(self, config: TrainConfig, ranks: Ranks | None = None, say: Callable[[str], None] = print) -> None:
        self.config, self.options = config, options_of(config)
        device = ranks.device if ranks else "cpu"
        self.base = new_base(config, self.options.shift)
        check_crops(self.base, [config.crop])
        self.base.network.requires_grad_(True).train().to(device)
        self.base.vae.to(device)
        self.base.prompt = self.base.prompt.to(device)
        self.pool = self._encode_pool(self.options.pool)

    def _encode_pool(self, count: int, batch: int = 25) -> torch.Tensor:
        source = CropSource(self.config.data, self.config.crop, self.config.seed, self.options.recolour)
        return torch.cat([self.base.encode(source.batch(batch)) for _ in range(-(-count // batch))])

    def parameters(self) -> list[torch.nn.Parameter]:
        """All of the transformer's that see the picture (the last block's text side sees none)."""
        return list(self.base.network.parameters())

    def loss(self, number: int) -> torch.Tensor:
        """One batch from the pool."""
        random = seeds(self.config.seed, number).noise
        chosen = torch.randint(len(self.pool), (self.config.batch,), generator=random)
        clean = self.pool[chosen.to(self.pool.device)]
        noise = torch.randn(clean.shape, generator=random).to(clean)
        sigma = draw_sigmas(len(clean), self.options.start_share, random).to(clean)
        conditions = self.base.conditions(len(clean), self.config.crop, self.config.crop)
        velocity = self.base.predict(noised(clean, noise, sigma[:, None, None, None]), sigma * 1000, conditions)
        return flow_loss(velocity, clean, noise)

    def save(self, folder: Path) -> None:
        """The whole base in diffusers layout."""
        save_base(self.base, folder)
