# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures whose opposite borders meet, through an autoencoder that knows of borders.

A picture is continued over its borders by itself, goes through the autoencoder, and what lies beyond the borders is folded
back: each pixel near a border is the mix of both answers to it, in proportion to how far they are from the cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .base import Base

Tensor = torch.Tensor
MARGIN = 4
"""Latent cells by which a picture is continued on each side."""


def continued(rows: Tensor, margins: tuple[int, int]) -> Tensor:
    """B x C x H x W, continued over each border by (down, right) margins of the opposite side: H + 2 down, W + 2 right."""
    for side, margin in zip((-2, -1), margins, strict=True):
        index = torch.arange(-margin, rows.shape[side] + margin, device=rows.device) % rows.shape[side]
        rows = rows.index_select(side, index)
    return rows


def folded(rows: Tensor, margins: tuple[int, int]) -> Tensor:
    """The inverse of `continued`: each pixel is the weighted mean of its copies. Weights rise evenly over both margins of
    a border, and copies of a pixel have weights that sum to one, so that the result is as smooth across its borders as
    within. Margins are at most half a side."""
    for side, margin in zip((-2, -1), margins, strict=True):
        rows = _fold(rows.movedim(side, -1), margin).movedim(-1, side)
    return rows


def _fold(rows: Tensor, margin: int) -> Tensor:
    if margin == 0:
        return rows
    length = rows.shape[-1] - 2 * margin
    rise = (torch.arange(2 * margin, device=rows.device, dtype=rows.dtype) + 0.5) / (2 * margin)
    weights = torch.ones(rows.shape[-1], device=rows.device, dtype=rows.dtype)
    weights[: 2 * margin] = rise
    weights[length:] = 1 - rise
    places = torch.arange(-margin, length + margin, device=rows.device) % length
    return torch.zeros_like(rows[..., :length]).index_add_(-1, places, rows * weights)


class PeriodicCoder:
    """A base's autoencoder for pictures that tile; their sides are multiples of the base's factor."""

    def __init__(self, base: Base) -> None:
        self.base = base

    def encode(self, pixels: Tensor, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        """As `Base.encode`."""
        cells = _margins(pixels.shape[-2] // self.base.factor, pixels.shape[-1] // self.base.factor)
        return folded(self.base.encode(continued(pixels, self._in_pixels(cells)), generators), cells)

    def decode(self, latents: Tensor) -> Tensor:
        """As `Base.decode`."""
        cells = _margins(*latents.shape[-2:])
        return folded(self.base.decode(continued(latents, cells)), self._in_pixels(cells))

    def _in_pixels(self, cells: tuple[int, int]) -> tuple[int, int]:
        return cells[0] * self.base.factor, cells[1] * self.base.factor


def _margins(height: int, width: int) -> tuple[int, int]:
    return min(MARGIN, height // 2), min(MARGIN, width // 2)
