# SPDX-License-Identifier: GPL-3.0-or-later
"""FLUX.1: flow matching on packed 2 x 2 latent patches, with rotary positions and, in some versions, embedded guidance."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from .base import Base, Prompt, Prompts, per_row

Tensor = torch.Tensor


def pack(latents: Tensor) -> Tensor:
    """B x C x h x w to B x (h/2 * w/2) x 4C: each token is a 2 x 2 patch, channel by channel."""
    patches = latents.unflatten(2, (-1, 2)).unflatten(4, (-1, 2))
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `pack`, for latents of height x width cells."""
    patches = tokens.unflatten(1, (height // 2, width // 2)).unflatten(3, (-1, 2, 2))
    return patches.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def positions(height: int, width: int, axes: int = 3) -> Tensor:
    """Position ids of the tokens of height x width cells: (0, row, column), and zeros for further axes."""
    ids = torch.zeros(height // 2, width // 2, axes)
    ids[..., 1] += torch.arange(height // 2)[:, None]
    ids[..., 2] += torch.arange(width // 2)[None]
    return ids.flatten(0, 1)


def linear_shift(length: int, config: Mapping[str, Any]) -> float:
    """The shift `mu` of the noise schedule for a sequence length, on the line through the scheduler's two points."""
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    small, large = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return small + (large - small) * (length - low) / (high - low)


def token_shift(base: Base, latents: Tensor) -> float:
    """The same for the number of image tokens that a base makes of latents."""
    return linear_shift(latents.shape[-2] * latents.shape[-1] // base.patch**2, base.template.config)


class Flux(Base):
    """`FluxTransformer2DModel`; latents are (z - shift) * scale."""

    family = "FLUX"
    blocks = ("FluxTransformerBlock", "FluxSingleTransformerBlock")
    patch = 2
    axes = 3
    """Numbers in a token's position id."""
    usual = 3.5
    """The guidance that a network which takes it is told by default."""

    @property
    def taken(self) -> int:
        """Of a packed patch each cell has its share."""
        return self.network.config.in_channels // self.patch**2

    def schedule(self, steps: int, latents: Tensor) -> Any:
        """Sigmas from 1 to 1/n, shifted."""
        return self.evenly(copy.deepcopy(self.template), steps, latents)

    def mu(self, latents: Tensor, steps: int) -> float:
        """The shift for the latents' channel count.

        The released teams were sampled with this instead of the shift for the number of tokens, so that is what they want.
        """
        return linear_shift(latents.shape[-3], self.template.config)

    def conditions(
        self, rows: int, height: int, width: int, prompts: Prompts | None = None, guidance: float | None = None
    ) -> Mapping[str, Any]:
        """Prompt tokens and pooled vector for every row, position ids for all, guidance where the network has it."""
        prompts = prompts or [self.prompt]
        return {
            "encoder_hidden_states": per_row([p.prompt_embeds for p in prompts], rows),
            "pooled_projections": per_row([p.pooled_prompt_embeds for p in prompts], rows),
            "txt_ids": torch.zeros(prompts[0].prompt_embeds.shape[1], 3, device=self.device, dtype=self.dtype),
            "guidance": self.told(rows, guidance),
        }

    def told(self, rows: int, guidance: float | None) -> Tensor | None:
        """The guidance of every row, or the usual one; None for a network that takes none."""
        if self.guidance is None:
            return None
        return torch.full((rows,), self.guidance if guidance is None else guidance, device=self.device)

    @property
    def guidance(self) -> float | None:
        """The usual guidance of a dev; FLUX.1-schnell and FLUX.2-klein take none."""
        return self.usual if self.network.config.guidance_embeds else None

    def predict(self, latents: Tensor, timestep: Tensor, conditions: Mapping[str, Any]) -> Tensor:
        """Velocity, noise minus clean; the network counts time from 1 to 0."""
        height, width = latents.shape[-2:]
        tokens = self.network(
            hidden_states=pack(latents),
            timestep=(timestep.expand(latents.shape[0]) / 1000).to(latents.dtype),
            img_ids=positions(height, width, self.axes).to(latents.device),
            return_dict=False,
            **conditions,
        )[0]
        return unpack(tokens, height, width)

    @staticmethod
    def prompt_from(pipeline: Any, text: str) -> Prompt:
        """A prompt from diffusers' pipeline."""
        embeds, pooled, ids = pipeline.encode_prompt(prompt=text, prompt_2=None)
        return Prompt(embeds, pooled, ids)
