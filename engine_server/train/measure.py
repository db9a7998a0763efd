# SPDX-License-Identifier: GPL-3.0-or-later
"""How much each latent channel changes the picture: what an error of it should count if the picture is what counts."""

from __future__ import annotations

import torch

from ..diffusion.base import Base

Tensor = torch.Tensor
STEP, SIDE, DRAWN = 0.1, 4, 8


@torch.no_grad()
def pixel_measure(base: Base) -> Tensor:
    """C x 1 x 1 with the mean 1: the squared change of decoded pixels by a small step of one channel of a cell.

    Taken by differences at a few latents of unit variance, since decoders are not linear.
    """
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(DRAWN, base.channels, SIDE, SIDE, generator=generator).to(base.device)
    plain = base.decode(latents)
    changes = torch.stack([(base.decode(_stepped(latents, c)) - plain).square().mean() for c in range(base.channels)])
    return (changes / changes.mean()).cpu()[:, None, None]


def _stepped(latents: Tensor, channel: int) -> Tensor:
    stepped = latents.clone()
    stepped[:, channel, SIDE // 2, SIDE // 2] += STEP
    return stepped
