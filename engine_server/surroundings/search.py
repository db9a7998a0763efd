# SPDX-License-Identifier: GPL-3.0-or-later
"""A similar window for each of many, from few looks: Barnes et al., "PatchMatch", SIGGRAPH 2009."""

from __future__ import annotations

from typing import Protocol

import torch

from .windows import Grid, Tensor

STRIDES, REACHES = (1, 2, 4), (1, 1, 2, 4, 8, 16, 64)
"""How far away the neighbours are that a window asks, and how far from what it found it looks, in pixels."""


class Known(Protocol):
    """What is searched: the `grid`, by number the windows that are `open` and those that are `known`, for all whether they are
    `spoilt` by the hole, and what they are like (`described`, windows x N)."""

    grid: Grid
    open: Tensor
    known: Tensor
    spoilt: Tensor
    described: Tensor
    generator: torch.Generator


class Search:
    """For each open window, the best known one that it was offered."""

    def __init__(self, level: Known, seen: Tensor) -> None:
        self.level, self.seen = level, seen
        first = torch.randint(len(level.known), (len(seen),), generator=level.generator)
        self.like = level.known[first]
        self.off = (seen - level.described[self.like]).square().sum(1)

    def offer(self, windows: Tensor) -> None:
        """One more for each; -1 and windows over the hole are none."""
        windows = torch.where(windows < 0, self.like, windows)
        windows = torch.where(self.level.spoilt[windows], self.like, windows)
        off = (self.seen - self.level.described[windows]).square().sum(1)
        better = off < self.off
        self.like, self.off = torch.where(better, windows, self.like), torch.where(better, off, self.off)

    def look_around(self) -> None:
        """Places at random, near to the best one and further away."""
        columns = self.level.grid.shape[1]
        for reach in REACHES:
            down, right = (torch.randint(-reach, reach + 1, self.like.shape, generator=self.level.generator) for _ in range(2))
            self.offer(self.level.grid.at(self.like // columns + down, self.like % columns + right))

    def ask_neighbours(self) -> None:
        """What goes on from what the neighbours found."""
        grid, found = self.level.grid, torch.full((self.level.spoilt.shape[0],), -1)
        rows, columns = self.level.open // grid.shape[1], self.level.open % grid.shape[1]
        for stride in STRIDES:
            for down, right in ((stride, 0), (-stride, 0), (0, stride), (0, -stride)):
                found[self.level.open] = self.like
                neighbour = grid.at(rows + down, columns + right)
                theirs = torch.where(neighbour < 0, -1, found[neighbour])
                offered = grid.at(theirs // grid.shape[1] - down, theirs % grid.shape[1] - right)
                self.offer(torch.where(theirs < 0, -1, offered))
