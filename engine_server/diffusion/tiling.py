# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures larger than a base can take in one piece, pictures free of its patches' edges, and pictures that tile.

All of them predict overlapping parts and blend the predictions at every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .base import Base

Tensor = torch.Tensor


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin so that they cover `length` with at least `overlap` in common; the last ends at the end."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def ring_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin on a ring of `length`, at least two and evenly spaced: each one's ends lie within another."""
    tile = min(tile, length)
    count = max(2, -(-length // max(tile - max(overlap, 1), 1)))
    return list(dict.fromkeys(round(i * length / count) for i in range(count)))


def window(height: int, width: int) -> Tensor:
    """Blending weights h x w: a tent that falls to the tile's edges but never to zero."""
    y, x = (1 - (2 * (torch.arange(n) + 0.5) / n - 1).abs() for n in (height, width))
    return torch.outer(y, x)


def grids(length: int, patch: int) -> list[slice]:
    """The whole length, and what whole patches cover of it from half a patch on, if any do."""
    half = patch // 2
    return [slice(0, length), slice(half, length - (patch - half))] if half and length > patch else [slice(0, length)]


class Tiled:
    """A base that takes any size: the same seam, with `predict` made of tiles where the latents are too large.

    Blending the predictions, not the results, keeps all tiles on one path through the noise, so no seam can build up
    (MultiDiffusion, arXiv 2302.08113).
    """

    def __init__(
        self, base: Base, overlap: float = 0.25, side: int | None = None, lapped: bool = False, periodic: bool = False
    ) -> None:
        """`side` is the largest side of a tile in latent cells, if it shall be smaller than what the base can take.

        `lapped` averages predictions over patch grids that lie half a patch apart in both directions: a small network
        answers each patch for itself, and where patches meet their edges would show. Takes four times as long. Not for
        bases that number their patches in their conditions (FLUX).

        `periodic`: opposite borders of the picture meet. Tiles go on over them, and there are at least two on each side,
        so that what the base takes for a border lies within another tile. Takes at least four times as long.
        """
        self.base, self.overlap, self.lapped, self.periodic = base, overlap, lapped, periodic
        limit = min((n for n in (base.largest, side) if n), default=None)
        self.limit = limit and max(limit // base.patch, 1) * base.patch  # tiles are of whole patches

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)

    def predict(self, latents: Tensor, timestep: Tensor, conditions: Mapping[str, Any]) -> Tensor:
        """As the base's own; tiles begin on whole patches."""
        height, width = latents.shape[-2:]
        limit = self.limit or max(height, width)
        if not self.periodic and max(height, width) <= limit:
            return self._whole(latents, timestep, conditions)
        total = torch.zeros_like(latents)
        weight = torch.zeros(height, width, device=latents.device, dtype=latents.dtype)
        for rows, columns in self._tiles(height, width, limit):
            here = (rows[:, None].to(latents.device), columns.to(latents.device))
            blend = window(len(rows), len(columns)).to(weight)
            total[(..., *here)] += self._whole(latents[(..., *here)], timestep, conditions) * blend
            weight[here] += blend
        return total / weight

    def _whole(self, latents: Tensor, timestep: Tensor, conditions: Mapping[str, Any]) -> Tensor:
        """What fits into the base, on one patch grid or on four."""
        if not self.lapped:
            return self.base.predict(latents, timestep, conditions)
        total = torch.zeros_like(latents)
        weight = torch.zeros(latents.shape[-2:], device=latents.device, dtype=latents.dtype)
        for rows in grids(latents.shape[-2], self.base.patch):
            for columns in grids(latents.shape[-1], self.base.patch):
                total[..., rows, columns] += self.base.predict(latents[..., rows, columns], timestep, conditions)
                weight[rows, columns] += 1
        return total / weight

    def _tiles(self, height: int, width: int, limit: int) -> list[tuple[Tensor, Tensor]]:
        """The rows and columns of each tile; on a ring they go on after the last with the first."""
        patch, tile = self.base.patch, limit // self.base.patch
        begin = ring_starts if self.periodic else starts
        tops, lefts = (begin(n // patch, tile, round(tile * self.overlap)) for n in (height, width))
        rows, columns = (torch.arange(min(n, limit)) for n in (height, width))
        return [((rows + y * patch) % height, (columns + x * patch) % width) for y in tops for x in lefts]
