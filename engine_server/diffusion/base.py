# SPDX-License-Identifier: GPL-3.0-or-later
"""The seam between a team and a diffusion base: what every base must answer, and what most bases share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

Tensor = torch.Tensor
AT_ONCE = 2**21
"""So many pixels go through a VAE in one batch: its widest features take some kilobytes for each."""


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


Prompts = Sequence[Prompt]
"""One prompt for all rows, or one for each image; rows are teammate-major, so image i has the rows i, i + I, ..."""


def per_row(tensors: Sequence[Tensor], rows: int) -> Tensor:
    """1 x ... tensors, one for all rows or one for each image, as rows x ...; without a copy where one is for all."""
    first = tensors[0]
    if all(tensor is first for tensor in tensors):
        return first.expand(rows, *first.shape[1:])
    return torch.cat(list(tensors)).repeat(rows // len(tensors), *[1] * (first.ndim - 1))


class Base:
    """A frozen diffusion network with its VAE, scheduler and prompt.

    A subclass says only what its network wants: `predict`, and where it differs, `schedule`, `pack` and the VAE's
    scaling. Latents are B x C x h x w; images B x 3 x H x W in -1..1, display-encoded.

    `prompt` is the empty prompt. `encode_prompts` makes others of texts, where the base came with text encoders; else it
    is None.
    """

    family = ""
    patch = 1
    """Latents must be a multiple of this many cells on each side."""
    blocks: tuple[str, ...] = ()
    """Classes of the blocks that the network repeats."""
    guidance: float | None = None
    """What the network is told of guidance where it takes that as an input (its default); else None."""
    distilled = False
    """Whether the network was distilled to answer without classifier-free guidance."""
    zero_unconditional = False
    """Whether classifier-free guidance starts from zeros, not from the empty prompt, when no negative prompt is given."""

    def __init__(
        self,
        network: nn.Module,
        vae: nn.Module,
        scheduler: Any,
        prompt: Prompt,
        name: str = "",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """`device` is where the parts work, if they are not there yet; `dtype` the precision of activations, if it is not
        that of the network's weights."""
        self.network = network.eval().requires_grad_(False)
        self.vae = vae.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # convolutions run faster so
        self.template, self.name = scheduler, name
        self._device, self._dtype = device and torch.device(device), dtype
        self.prompt = prompt.to(self.device, self.dtype)
        self.encode_prompts: Callable[[Sequence[str]], list[Prompt]] | None = None

    @property
    def device(self) -> torch.device:
        """Where the network works."""
        return self._device or next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the activations."""
        return self._dtype or self.network.dtype

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
    def taken(self) -> int:
        """Channels of the latents that the network takes."""
        return self.network.config.in_channels

    @property
    def largest(self) -> int | None:
        """Longest latent side that the network takes in one piece; None where there is no limit."""
        return None

    @torch.no_grad()
    def encode(self, pixels: Tensor, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        """Images to scaled latents: the posterior's mode, or a sample of it if there is a generator for each image."""
        made = []
        for rows in batches(len(pixels), pixels.shape[-2] * pixels.shape[-1]):
            encoded = self.vae.encode(pixels[rows].to(self.device, self.vae.dtype))
            made.append(self.scale(draw(encoded, generators and generators[rows])).to(self.dtype))
        return torch.cat(made)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents to images."""
        made = []
        for rows in batches(len(latents), latents.shape[-2] * latents.shape[-1] * self.factor**2):
            unscaled = self.unscale(latents[rows].to(self.vae.dtype))
            made.append(self.vae.decode(unscaled, return_dict=False)[0].float())
        return torch.cat(made)

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
        scheduler, mu = copy.deepcopy(self.template), self.mu(latents, steps)
        scheduler.set_timesteps(steps, device=self.device, **({} if mu is None else {"mu": mu}))
        return scheduler

    def evenly(self, scheduler: Any, steps: int, latents: Tensor) -> Any:
        """A scheduler of flow matching with its sigmas set evenly from 1 to 1/n, shifted by `mu`."""
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=self.mu(latents, steps), device=self.device)
        return scheduler

    def mu(self, latents: Tensor, steps: int) -> float | None:
        """The shift of the noise schedule for latents of this shape; None where the scheduler's own is all there is."""
        return None

    def prompted(self, texts: Sequence[str]) -> list[Prompt]:
        """The prompts of texts, on the base's device; only other texts than the empty one need its text encoders."""
        wanted = list(dict.fromkeys(text for text in texts if text))
        encoded = dict(zip(wanted, self.encode_prompts(wanted), strict=True)) if wanted else {}
        made = {text: prompt.to(self.device, self.dtype) for text, prompt in encoded.items()} | {"": self.prompt}
        return [made[text] for text in texts]

    def conditions(
        self, rows: int, height: int, width: int, prompts: Prompts | None = None, guidance: float | None = None
    ) -> Mapping[str, Any]:
        """What `predict` needs beside latents and time, for so many rows of images of this size in pixels.

        Without `prompts` all rows have the empty one; `guidance` replaces the default of a network that takes it.
        """
        raise NotImplementedError

    def predict(self, latents: Tensor, timestep: Tensor, conditions: Mapping[str, Any]) -> Tensor:
        """The network's output, of the shape of `latents`; `timestep` is the scheduler's, one number or one a row."""
        raise NotImplementedError

    @staticmethod
    def prompt_from(pipeline: Any, text: str) -> Prompt:
        """Encode a prompt with diffusers' pipeline for this base."""
        raise NotImplementedError

    def take(self, facts: Mapping[str, Any]) -> None:
        """Heed what `model_index.json` of the base says beside the names of its parts."""


def vae_factor(vae: nn.Module) -> int:
    """Pixels per latent cell on a side; autoencoders without `block_out_channels` say it themselves."""
    blocks = getattr(vae.config, "block_out_channels", None)
    return 2 ** (len(blocks) - 1) if blocks else vae.spatial_compression_ratio


def batches(count: int, pixels: int) -> list[slice]:
    """Images of so many pixels each, in as few batches as `AT_ONCE` allows."""
    size = max(1, AT_ONCE // pixels)
    return [slice(first, first + size) for first in range(0, count, size)]


def draw(encoded: Any, generators: Sequence[torch.Generator] | None) -> Tensor:
    """The latents of an encoder's answer; plain autoencoders (AutoencoderDC) have one answer and no posterior."""
    if hasattr(encoded, "latent"):
        return encoded.latent
    return encoded.latent_dist.mode() if generators is None else encoded.latent_dist.sample(list(generators))
