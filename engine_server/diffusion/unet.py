# SPDX-License-Identifier: GPL-3.0-or-later
"""Stable Diffusion 2 and XL: a UNet that predicts noise or velocity, as its scheduler says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .base import Base, Prompt, Prompts, per_row

Tensor = torch.Tensor


class SD2(Base):
    """`UNet2DConditionModel` with cross attention to one text encoder."""

    family = "SD2"
    blocks = ("BasicTransformerBlock", "ResnetBlock2D")
    outdated: Mapping[str, Any] = {"steps_offset": 1, "clip_sample": False}
    """What old schedulers' files say otherwise, or leave out, and diffusers' pipeline for this base puts right."""

    def __init__(self, network: nn.Module, vae: nn.Module, scheduler: Any, *rest: Any, **place: Any) -> None:
        scheduler.register_to_config(**{name: value for name, value in self.outdated.items() if name in scheduler.config})
        super().__init__(network, vae, scheduler, *rest, **place)

    @property
    def patch(self) -> int:
        """The UNet halves its input this often, as a factor."""
        return 2 ** (len(self.network.config.block_out_channels) - 1)

    def conditions(
        self, rows: int, height: int, width: int, prompts: Prompts | None = None, guidance: float | None = None
    ) -> Mapping[str, Any]:
        """The prompt's tokens, the same for every row of an image."""
        prompts = prompts or [self.prompt]
        return {"encoder_hidden_states": per_row([p.prompt_embeds for p in prompts], rows)}

    def predict(self, latents: Tensor, timestep: Tensor, conditions: Mapping[str, Any]) -> Tensor:
        """Noise or velocity, by the scheduler's prediction type."""
        return self.network(latents, timestep, return_dict=False, **conditions)[0]

    @staticmethod
    def prompt_from(pipeline: Any, text: str) -> Prompt:
        """A prompt from diffusers' pipeline."""
        embeds, _ = pipeline.encode_prompt(text, pipeline.device, 1, do_classifier_free_guidance=False)
        return Prompt(embeds)


class SDXL(SD2):
    """The same network with a pooled prompt and the picture's size as further conditions."""

    family = "SDXL"
    outdated: Mapping[str, Any] = {}

    def __init__(self, network: nn.Module, vae: nn.Module, *rest: Any, **place: Any) -> None:
        """As diffusers' pipeline: the VAE that overflows in float16, as the released one does, works in float32 instead."""
        overflows = vae.dtype == torch.float16 and vae.config.get("force_upcast")
        super().__init__(network, vae.float() if overflows else vae, *rest, **place)

    def conditions(
        self, rows: int, height: int, width: int, prompts: Prompts | None = None, guidance: float | None = None
    ) -> Mapping[str, Any]:
        """Tokens, pooled vector, and time ids (size, crop, target size).

        The released teams were trained with sizes times the VAE's factor, height first; so that is what they get.
        """
        prompts = prompts or [self.prompt]
        pooled = per_row([p.pooled_prompt_embeds for p in prompts], rows)
        size = [self.factor * height, self.factor * width]
        ids = torch.tensor([[*size, 0, 0, *size]], device=self.device, dtype=self.dtype)
        added = {"text_embeds": pooled, "time_ids": ids.expand(rows, -1)}
        return {**super().conditions(rows, height, width, prompts), "added_cond_kwargs": added}

    def take(self, facts: Mapping[str, Any]) -> None:
        """As diffusers' pipeline: guidance without a negative prompt starts from zeros unless the base says otherwise."""
        self.zero_unconditional = bool(facts.get("force_zeros_for_empty_prompt", True))

    @staticmethod
    def prompt_from(pipeline: Any, text: str) -> Prompt:
        """A prompt from diffusers' pipeline."""
        embeds, _, pooled, _ = pipeline.encode_prompt(text, do_classifier_free_guidance=False)
        return Prompt(embeds, pooled)


def unet_kind(config: Mapping[str, Any]) -> type[SD2]:
    """SDXL for a UNet that takes size conditions, else SD2."""
    return SDXL if config.get("addition_embed_type") == "text_time" else SD2
