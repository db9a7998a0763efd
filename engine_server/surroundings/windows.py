# SPDX-License-Identifier: GPL-3.0-or-later
"""The square windows of a picture: where they lie, which are known, and how alike two of them are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

Tensor = torch.Tensor
SIDE = 7
"""Of a window, in pixels."""
NUMBERS, FEW_NUMBERS, MANY = 32, 16, 2**19
"""Principal components by which windows are compared, and fewer where there are many windows."""
DRAWN = 4000
"""So many windows tell what the principal components are."""


@dataclass(frozen=True)
class Grid:
    """All windows of `side` pixels of a picture of `height` x `width`, numbered row by row by their upper left pixels.
    Those of a periodic picture reach over its borders; of others they lie within."""

    height: int
    width: int
    periodic: bool
    side: int = SIDE

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        less = 0 if self.periodic else self.side - 1
        return self.height - less, self.width - less

    def wide(self, values: Tensor) -> Tensor:
        """C x H x W with all that its windows see: of a periodic picture, its beginning once more at its end."""
        more = self.side - 1
        return functional.pad(values[None], (0, more, 0, more), mode="circular")[0] if self.periodic else values

    def any(self, hole: Tensor) -> Tensor:
        """For each window whether any of its pixels, of H x W booleans, is True: rows x columns."""
        return functional.max_pool2d(self.wide(hole[None].float())[None], self.side, 1)[0, 0] > 0

    def pixels(self, windows: Tensor, down: int, right: int) -> Tensor:
        """The number of the pixel that lies so far within each window."""
        columns = self.shape[1]
        row, column = windows // columns + down, windows % columns + right
        return (row % self.height) * self.width + column % self.width

    def at(self, row: Tensor, column: Tensor) -> Tensor:
        """The window that begins at a pixel; -1 where there is none."""
        rows, columns = self.shape
        if self.periodic:
            return (row % rows) * columns + column % columns
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        return torch.where(inside, row * columns + column, -1)

    def clamped(self, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """The beginning of the window that begins there or, of a picture with borders, as near as one can."""
        rows, columns = self.shape
        return (row % rows, column % columns) if self.periodic else (row.clamp(0, rows - 1), column.clamp(0, columns - 1))

    def offsets(self) -> list[tuple[int, int]]:
        """Of all pixels within a window."""
        return [(down, right) for down in range(self.side) for right in range(self.side)]


def components(values: Tensor, grid: Grid, known: Tensor, generator: torch.Generator) -> Tensor:
    """Filters, N x C x side x side: the principal components of the windows that are `known` by number."""
    drawn = known[torch.randperm(len(known), generator=generator)[:DRAWN]]
    flat = values.flatten(1)
    seen = torch.stack([flat[:, grid.pixels(drawn, *offset)] for offset in grid.offsets()], -1).movedim(1, 0).flatten(1)
    seen = seen - seen.mean(0)
    count = FEW_NUMBERS if grid.shape[0] * grid.shape[1] > MANY else NUMBERS
    return torch.linalg.eigh(seen.T @ seen)[1][:, -count:].T.reshape(-1, len(values), grid.side, grid.side)


def described(values: Tensor, grid: Grid, filters: Tensor) -> Tensor:
    """Every window by its components, windows x N: their squared distance is that of the windows, but for what is left out."""
    return functional.conv2d(grid.wide(values)[None], filters)[0].flatten(1).T.contiguous()
