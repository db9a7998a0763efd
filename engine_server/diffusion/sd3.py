# SPDX-License-Identifier: GPL-3.0-or-later
"""Stable Diffusion 3 and its kin (MMDiT): flow matching, learned prompt tokens beside the image's."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch

from .base import Base, Prompt, Prompts, per_row
from .flux import token_shift


class SD3(Base):
    """`SD3Transformer2DModel` with `FlowMatchEulerDiscreteScheduler`; latents are (z - shift) * scale."""

    family = "SD3"
    blocks = ("JointTransformerBlock",)

    @property
    def patch(self) -> int:
        """The transformer's patch size."""
        return self.network.config.patch_size

    @property
    def largest(self) -> int:
        """The grid of position embeddings ends here."""
        return self.network.config.pos_embed_max_size * self.patch

    def mu(self, latents: torch.Tensor, steps: int) -> float | None:
        """The shift for the number of image tokens, for a scheduler that takes one; the released ones have a fixed shift."""
        return token_shift(self, latents) if self.template.config.get("use_dynamic_shifting") else None

    def conditions(
        self, rows: int, height: int, width: int, prompts: Prompts | None = None, guidance: float | None = None
    ) -> Mapping[str, Any]:
        """The prompt's tokens and pooled vector, the same for every row of an image."""
        prompts = prompts or [self.prompt]
        return {
            "encoder_hidden_states": per_row([p.prompt_embeds for p in prompts], rows),
            "pooled_projections": per_row([p.pooled_prompt_embeds for p in prompts], rows),
        }

    def predict(self, latents: torch.Tensor, timestep: torch.Tensor, conditions: Mapping[str, Any]) -> torch.Tensor:
        """Velocity, noise minus clean; `timestep` runs from 1000 to 0."""
        timestep = timestep.expand(latents.shape[0])
        return self.network(hidden_states=latents, timestep=timestep, return_dict=False, **conditions)[0]

    @staticmethod
    def prompt_from(pipeline: Any, text: str) -> Prompt:
        """A prompt from diffusers' pipeline, which without its third encoder asks the network how wide the zeros are in place of that."""
        if pipeline.text_encoder_3 is None and pipeline.transformer is None:
            from diffusers import SD3Transformer2DModel

            config = SD3Transformer2DModel.load_config(pipeline.config["_name_or_path"], subfolder="transformer")
            pipeline.transformer = SimpleNamespace(config=SimpleNamespace(**config))
        embeds, _, pooled, _ = pipeline.encode_prompt(text, None, None, do_classifier_free_guidance=False)
        return Prompt(embeds, pooled)
