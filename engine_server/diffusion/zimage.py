# SPDX-License-Identifier: GPL-3.0-or-later
"""Z-Image: one stream of image and prompt tokens; flow matching with time from 0 to 1 and a negated velocity."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from .base import Base, Prompt, Prompts
from .flux import token_shift

Tensor = torch.Tensor


class ZImage(Base):
    """`ZImageTransformer2DModel` with `FlowMatchEulerDiscreteScheduler`; latents are (z - shift) * scale."""

    family = "ZIMAGE"
    blocks = ("ZImageTransformerBlock",)

    @property
    def patch(self) -> int:
        """The transformer's patch size."""
        return self.network.config.all_patch_size[0]

    @property
    def largest(self) -> int:
        """The tables of rotary positions end here."""
        return min(self.network.config.axes_lens[1:]) * self.patch

    def schedule(self, steps: int, latents: Tensor) -> Any:
        """Sigmas from 1 to 1/n, shifted."""
        return self.evenly(copy.deepcopy(self.template), steps, latents)

    def mu(self, latents: Tensor, steps: int) -> float:
        """The shift for the number of image tokens."""
        return token_shift(self, latents)

    def conditions(
        self, rows: int, height: int, width: int, prompts: Prompts | None = None, guidance: float | None = None
    ) -> Mapping[str, Any]:
        """The prompt's tokens, the same for every row of an image; prompts may differ in length."""
        prompts = prompts or [self.prompt]
        return {"cap_feats": [p.prompt_embeds[0] for p in prompts] * (rows // len(prompts))}

    def predict(self, latents: Tensor, timestep: Tensor, conditions: Mapping[str, Any]) -> Tensor:
        """Velocity, noise minus clean. The network takes a list of C x 1 x h x w, and answers clean minus noise."""
        time = (1000 - timestep.expand(latents.shape[0])) / 1000
        rows = self.network(list(latents.unsqueeze(2)), time, patch_size=self.patch, return_dict=False, **conditions)[0]
        return -torch.stack(rows).squeeze(2)

    @staticmethod
    def prompt_from(pipeline: Any, text: str) -> Prompt:
        """A prompt from diffusers' pipeline."""
        embeds, _ = pipeline.encode_prompt(text, do_classifier_free_guidance=False)
        return Prompt(embeds[0][None])
