# SPDX-License-Identifier: GPL-3.0-or-later
"""A hole filled piece by piece from its rim, each piece copied from the known window that goes on best from what is there.

Criminisi, Perez and Toyama, "Region Filling and Object Removal by Exemplar-Based Image Inpainting", TIP 2004: the order is that of
how much of a window is sure already, and of how strong a line runs into the hole there, so that lines are led on first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from .windows import Grid, Tensor

PIECE = 9
"""Side of a piece in pixels."""
NEARLY = 1.1
"""One of those is taken that are at most so many times as unlike as the best: it is the seed that decides."""
NOTHING = 1e-3
"""A squared distance that is rounding."""
PLAIN = 0.3
"""What a place without any line counts, in standard deviations of the values."""


@dataclass
class Patchwork:
    """`values` C x H x W, `hole` H x W; `guides` C: channels that are known in the hole, too. Sources are pixels' numbers."""

    values: Tensor
    hole: Tensor
    guides: Tensor
    grid: Grid
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.hole, self.sure = self.hole.clone(), (~self.hole).float()
        self.values = torch.where(self.hole & ~self.guides[:, None, None], 0.0, self.values)
        self.squares, self.known = torch.fft.rfft2(self.values.square()), torch.fft.rfft2(self.values)
        self.source = torch.arange(self.hole.numel())
        self.spoilt = self.grid.any(self.hole)

    def sources(self, told: Callable[[float], None]) -> Tensor:
        """For each pixel the known one that it is copied from, by number. `told` hears the share that is done."""
        whole = int(self.hole.sum())
        while left := int(self.hole.sum()):
            told(1.0 - left / whole)
            self._fill(*self._next())
        return self.source

    def _next(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row and column of the window that comes next, and how sure it is."""
        row, column = self._rim()
        top, left = self.grid.clamped(row - PIECE // 2, column - PIECE // 2)
        sure = functional.avg_pool2d(self.grid.wide(self.sure[None])[None], PIECE, 1)[0, 0][top, left]
        best = int((sure * (PLAIN + self._lines(row, column, top, left))).argmax())
        return top[best], left[best], sure[best]

    def _rim(self) -> tuple[Tensor, Tensor]:
        return (self.hole & (self._spread((~self.hole).float()) > 0)).nonzero(as_tuple=True)

    def _spread(self, values: Tensor) -> Tensor:
        mode = "circular" if self.grid.periodic else "replicate"
        return functional.max_pool2d(functional.pad(values[None, None], (1, 1, 1, 1), mode=mode), 3, 1)[0, 0]

    def _lines(self, row: Tensor, column: Tensor, top: Tensor, left: Tensor) -> Tensor:
        """How strong the lines are that run into the hole at pixels of the rim."""
        found = torch.zeros(len(row))
        inwards = self._inwards()
        for axis in (0, 1):  # a difference along one axis is an edge that runs along the other
            strongest = functional.max_pool2d(self.grid.wide(self._edges(axis)[None])[None], PIECE, 1)[0, 0]
            found += strongest[top, left] * inwards[1 - axis][row, column].abs()
        return found

    def _edges(self, axis: int) -> Tensor:
        """Differences to the pixel before along an axis, where both are known."""
        before, hidden = self.values.roll(1, axis + 1), self.hole | self.hole.roll(1, axis)
        edges = torch.where(hidden, 0.0, (self.values - before).square().sum(0).sqrt())
        if not self.grid.periodic:
            edges.select(axis, 0).zero_()
        return edges

    def _inwards(self) -> list[Tensor]:
        """The rim's normal, down and right, of length 1."""
        mode = "circular" if self.grid.periodic else "replicate"
        soft = functional.pad(self.hole.float()[None, None], (3, 3, 3, 3), mode=mode)
        soft = functional.avg_pool2d(soft, 5, 1)[0, 0]
        down, right = soft[2:, 1:-1] - soft[:-2, 1:-1], soft[1:-1, 2:] - soft[1:-1, :-2]
        length = (down.square() + right.square()).sqrt().clamp_min(1e-6)
        return [down / length, right / length]

    def _fill(self, top: Tensor, left: Tensor, sure: Tensor) -> None:
        window = self.grid.at(top, left)
        here = torch.stack([self.grid.pixels(window, *offset) for offset in self.grid.offsets()])
        open_, like = self.hole.view(-1)[here], self._like(here)
        there = torch.stack([self.grid.pixels(like, *offset) for offset in self.grid.offsets()])
        to, source = here[open_], there[open_]
        values = self.values.flatten(1)
        values[:, to] = torch.where(self.guides[:, None], values[:, to], values[:, source])
        self.values = values.view_as(self.values)
        self.source[to], self.sure.view(-1)[to], self.hole.view(-1)[to] = source, sure, False

    def _like(self, here: Tensor) -> Tensor:
        """A known window that is like what is known of the window with these pixels."""
        side = (len(self.guides), PIECE, PIECE)
        seen = (~self.hole.view(-1)[here] | self.guides[:, None]).float().view(side)
        piece = self.values.flatten(1)[:, here].view(side) * seen
        off = torch.where(self.spoilt, torch.inf, self._off(seen, piece)).view(-1).clamp_min(0)
        near = (off <= NEARLY * off.min() + NOTHING).nonzero()[:, 0]
        return near[torch.randint(len(near), (1,), generator=self.generator)][0]

    def _off(self, seen: Tensor, piece: Tensor) -> Tensor:
        """Squared distances of all windows v to what is `seen` (1) of a piece p: sum of s v^2 - 2 s v p + p^2. The first two are
        correlations, which by Fourier transforms take a ninth of the time."""
        size, (rows, columns) = self.hole.shape, self.grid.shape
        weighed, shown = torch.fft.rfft2(seen, size), torch.fft.rfft2(piece, size)
        both = (self.squares * weighed.conj() - 2 * self.known * shown.conj()).sum(0)
        return torch.fft.irfft2(both, size)[:rows, :columns] + piece.square().sum()
