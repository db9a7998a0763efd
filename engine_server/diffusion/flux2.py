# SPDX-License-Identifier: GPL-3.0-or-later
"""FLUX.2: as FLUX.1 on packed 2 x 2 latent patches, with four position axes and no pooled prompt; klein takes no guidance, dev does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .base import Prompt, Prompts, per_row
from .flux import Flux

LONG = 4300
"""Sequences longer than this take the shift of many steps, however few are taken."""


def empirical_shift(length: int, steps: int) -> float:
    """The shift `mu` of FLUX.2's noise schedule.

    Two lines over the sequence length, fitted by its authors at 10 and at 200 steps; in between and beyond, the line
    through both over the number of steps.
    """
    few, many = 8.73809524e-05 * length + 1.89833333, 0.00016927 * length + 0.45666666
    return many if length > LONG else many + (many - few) / 190 * (steps - 200)


class Flux2(Flux):
    """`Flux2Transformer2DModel` with `AutoencoderKLFlux2`.

    Teams see the VAE's own latents, (z - shift) * scale: the batch statistics that FLUX.2's pipeline also divides by
    are left out.
    """

    family = "FLUX2"
    blocks = ("Flux2TransformerBlock", "Flux2SingleTransformerBlock")
    axes = 4
    usual = 4.0

    def mu(self, latents: torch.Tensor, steps: int) -> float:
        """The shift for the latents' channel count, as with FLUX.1."""
        return empirical_shift(latents.shape[-3], steps)

    def conditions(
        self, rows: int, height: int, width: int, prompts: Prompts | None = None, guidance: float | None = None
    ) -> Mapping[str, Any]:
        """Prompt tokens for every row; their position ids are (0, 0, 0, which token)."""
        prompts = prompts or [self.prompt]
        ids = torch.zeros(prompts[0].prompt_embeds.shape[1], self.axes, device=self.device)
        ids[:, 3] = torch.arange(len(ids))
        return {
            "encoder_hidden_states": per_row([p.prompt_embeds for p in prompts], rows),
            "txt_ids": ids,
            "guidance": self.told(rows, guidance),
        }

    def take(self, facts: Mapping[str, Any]) -> None:
        """The distilled klein takes no guidance at all."""
        self.distilled = bool(facts.get("is_distilled"))

    @staticmethod
    def prompt_from(pipeline: Any, text: str) -> Prompt:
        """A prompt from diffusers' pipeline."""
        return Prompt(pipeline.encode_prompt(prompt=text)[0])
