# SPDX-License-Identifier: GPL-3.0-or-later
"""What an error of an answer counts: how much each latent channel changes the picture, and how errors of pictures are added up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from ..diffusion.base import Base
from .errors import ConfigError

Tensor = torch.Tensor
STEP, SIDE, DRAWN = 0.1, 4, 8
LEAST = 1e-3
"""Keeps the slope of a root finite where an answer is right."""


@torch.no_grad()
def pixel_measure(base: Base, deviation: float = 1.0) -> Tensor:
    """C x 1 x 1 with the mean 1: the squared change of decoded pixels by a small step of one channel of a cell.

    Taken by differences at a few latents of this deviation, since decoders are not linear.
    """
    generator = torch.Generator().manual_seed(0)
    latents = deviation * torch.randn(DRAWN, base.channels, SIDE, SIDE, generator=generator).to(base.device)
    plain = base.decode(latents)
    changes = torch.stack([(base.decode(_stepped(latents, c, STEP * deviation)) - plain).square().mean() for c in range(base.channels)])
    return (changes / changes.mean()).cpu()[:, None, None]


def _stepped(latents: Tensor, channel: int, step: float) -> Tensor:
    stepped = latents.clone()
    stepped[:, channel, SIDE // 2, SIDE // 2] += step
    return stepped


def checked_emphasis(emphasis: Mapping[str, float], outputs: Sequence[str]) -> None:
    """Raises `ConfigError` for a weight of a channel that is no output, or that is not above 0: a batch may have that channel alone."""
    for name, weight in emphasis.items():
        if name not in outputs:
            raise ConfigError(f"options.emphasis names {name!r}, which is no output; the outputs are {', '.join(outputs)}.")
        if not 0 < weight < math.inf:
            raise ConfigError(f"options.emphasis has {weight} for {name}; expected a number above 0, small for what shall count little.")


def emphasised(names: Sequence[str], emphasis: Mapping[str, float]) -> Tensor:
    """What each of these channels counts, rows x 1 x 1 x 1 x 1, with the mean 1 over them."""
    rows = torch.tensor([emphasis.get(name, 1.0) for name in names])
    return (rows / rows.mean())[:, None, None, None, None]


def mean_error(square: Tensor, weight: Tensor, error: str) -> Tensor:
    """The mean over rows and images of squared errors, rows x images x C x h x w, or with `error` "rmse" of each picture's root of
    their mean. `weight` is rows x 1 x 1 x 1 x 1.

    Roots count a picture that is hopeless less than squares do, and give a channel whose errors are small as much say as others.
    """
    if error == "rmse":
        square = (square.mean(dim=(2, 3, 4), keepdim=True) + LEAST).sqrt()
    return (square * weight).mean()
