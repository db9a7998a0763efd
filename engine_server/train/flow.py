# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow matching, as the base and the team train on it (SD3, arXiv 2403.03206)."""

from __future__ import annotations

import torch

Tensor = torch.Tensor


def draw_sigmas(count: int, start_share: float, generator: torch.Generator | None = None) -> Tensor:
    """Noise levels in (0, 1]: uniform, but a share of them exactly 1.

    At 1 the input holds no trace of the answer, so the network learns the mean of what is possible; that is what a
    sampler of one or two steps shows, and what a root mean square error rewards.
    """
    sigmas = torch.rand(count, generator=generator).clamp_min(1e-3)
    return torch.where(torch.rand(count, generator=generator) < start_share, torch.ones(()), sigmas)


def noised(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The straight path from clean to noise: (1 - sigma) x0 + sigma n; `sigma` broadcasts."""
    return (1 - sigma) * clean + sigma * noise


def flow_loss(velocity: Tensor, clean: Tensor, noise: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error of the velocity n - x0; the same as that of x0 weighted by sigma^-2.

    `weight`, if given, weighs the entries of the first dimension; of mean 1 it leaves the scale as it is.
    """
    square = (velocity - (noise - clean)).square()
    return square.mean() if weight is None else (square.flatten(1).mean(1) * weight).mean()
