# SPDX-License-Identifier: GPL-3.0-or-later
"""The seam between a team and a diffusion base: what every base must answer, and what most bases share."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Tensor = torch.Tensor


@dataclass(frozen=True)
class Prompt:
    """Text conditioning of one row: `prompt_embeds` 1 x L x D, and what else a base wants (pooled 1 x P, text ids)."""

    prompt_embeds: Tensor
    pooled_prompt_embeds: Tensor | None = None
    text_ids: Tensor | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Prompt:
        """The same on another device, in another precision."""
        moved = {k: None if v is None else v.to(device, dtype) for k, v in vars(self).items()}
        return Prompt(**moved)


class Base:
    """A frozen diffusion network with its VAE, scheduler and prompt.

    A subclass says only what its network wants: `predict`, and where it differs, `schedule`, `pack` and the VAE's
    scaling. Latents are B x C x h x w; images B x 3 x H x W in -1..1, display-encoded.
    """

    family = ""
    patch = 1
    """Latents must be a multiple of this many cells on each side."""

    def __init__(self, network: nn.Module, vae: nn.Module, scheduler: Any, prompt: Prompt, name: str = "") -> None:
        self.network = network.eval().requires_grad_(False)
        self.vae = vae.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # convolutions run faster so
        self.template, self.name = scheduler, name
        self.prompt = prompt.to(self.device, self.dtype)

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the activations."""
        return self.network.dtype

    @property
    def factor(self) -> int:
        """Pixels per latent cell, on a side."""
        return vae_factor(self.vae)

    @property
    def multiple(self) -> int:
        """Image sides that are multiples of this pass unpadded."""
        return self.factor * self.patch

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return self.vae.config.latent_channels

    @property
    def largest(self) -> int | None:
        """Longest latent side that the network takes in one piece; None where there is no limit."""
        return None

    @torch.no_grad()
    def encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images to scaled latents: the posterior's mode, or a sample of it if a generator is given."""
        encoded = self.vae.encode(pixels.to(self.device, self.vae.dtype))
        return self.scale(draw(encoded, generator)).to(self.dtype)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents to images."""
        return self.vae.decode(self.unscale(latents.to(self.vae.dtype)), return_dict=False)[0].float()

    def scale(self, latents: Tensor) -> Tensor:
        """The VAE's latents to the network's: (z - shift) * scale."""
        return (latents - self.shift) * self.scaling

    def unscale(self, latents: Tensor) -> Tensor:
        """The inverse of `scale`."""
        return latents / self.scaling + self.shift

    @property
    def shift(self) -> float:
        """The VAE's shift; most have none."""
        return getattr(self.vae.config, "shift_factor", None) or 0.0

    @property
    def scaling(self) -> float:
        """The VAE's scale; FLUX.2's has none."""
        return getattr(self.vae.config, "scaling_factor", None) or 1.0

    def schedule(self, steps: int, latents: Tensor) -> Any:
        """A fresh scheduler with its timesteps set for `steps` steps on latents of this shape."""
        scheduler = copy.deepcopy(self.template)
        scheduler.set_timesteps(steps, device=self.device)
        return scheduler

    def mu(self, latents: Tensor, steps: int) -> float | None:
        """The shift of the noise schedule for latents of this shape; None where the scheduler's own is all there is."""
        return None

    def conditions(self, rows: int, height: int, width: int, prompt: Prompt | None = None) -> Mapping[str, Any]:
        """What `predict` needs beside latents and time, for so many rows of images of this size in pixels."""
        raise NotImplementedError

    def predict(self, latents: Tensor, timestep: Tensor, conditions: Mapping[str, Any]) -> Tensor:
        """The network's output, of the shape of `latents`; `timestep` is the scheduler's, one number or one a row."""
        raise NotImplementedError

    @staticmethod
    def prompt_from(pipeline: Any, text: str) -> Prompt:
        """Encode a prompt with diffusers' pipeline for this base."""
        raise NotImplementedError


def vae_factor(vae: nn.Module) -> int:
    """Pixels per latent cell on a side; autoencoders without `block_out_channels` say it themselves."""
    blocks = getattr(vae.config, "block_out_channels", None)
    return 2 ** (len(blocks) - 1) if blocks else vae.spatial_compression_ratio


def draw(encoded: Any, generator: torch.Generator | None) -> Tensor:
    """The latents of an encoder's answer; plain autoencoders (AutoencoderDC) have one answer and no posterior."""
    if hasattr(encoded, "latent"):
        return encoded.latent
    return encoded.latent_dist.mode() if generator is None else encoded.latent_dist.sample(generator)
