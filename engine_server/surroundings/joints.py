# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces of a picture set together so that their joints do not show: each pixel keeps the differences to its neighbours that it had
where it was copied from (Perez, Gangnet and Blake, "Poisson Image Editing", SIGGRAPH 2003), and nearly its value."""

from __future__ import annotations

import numpy as np
import torch

from ..membrane import relaxed
from .windows import Tensor

TIE = 0.05
"""What is made up for at a joint is spread over some four pixels."""


def joined(values: Tensor, made: Tensor, hole: Tensor, source: Tensor, periodic: bool) -> Tensor:
    """`values`, C x H x W, with those that are `made`, of the same shape, copied from each pixel's `source`, by number; `hole`: H * W."""
    picture = np.moveaxis(values.numpy(), 0, -1)
    hole = hole.view(values.shape[1:]).numpy()
    places = _Places(picture, hole, source.view(values.shape[1:]).numpy(), periodic)
    copied = picture.reshape(-1, picture.shape[-1])[places.source]
    copied = copied + relaxed(places.tension(copied), hole, periodic, tie=TIE)
    return torch.where(made, torch.from_numpy(np.ascontiguousarray(np.moveaxis(copied, -1, 0))), values)


class _Places:
    """Where each pixel of a picture, H x W x C, comes from."""

    def __init__(self, picture: np.ndarray, hole: np.ndarray, source: np.ndarray, periodic: bool) -> None:
        self.picture, self.hole, self.source, self.periodic = picture, hole, source, periodic

    def tension(self, copied: np.ndarray) -> np.ndarray:
        """How much more each pixel differs from its neighbours, all together, than it does now, where it comes from."""
        total = np.zeros_like(copied)
        for axis in (0, 1):
            difference, known = self._differences(axis)
            lacking = difference - (copied - np.roll(copied, -1, axis))
            lacking[~(known & self._counts(axis))] = 0.0
            total += lacking - np.roll(lacking, 1, axis)
        return total

    def _counts(self, axis: int) -> np.ndarray:
        """Whether a pixel and the next one along an axis are neighbours of which any is in the hole."""
        counts = self.hole | np.roll(self.hole, -1, axis)
        if not self.periodic:
            counts[(slice(None),) * axis + (-1,)] = False
        return counts

    def _knows(self, axis: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The pixel that lies a step along an axis from where each comes from, by number; and whether it is there, and known."""
        place = list(np.divmod(self.source, self.hole.shape[1]))
        place[axis] = place[axis] + step
        inside = (place[axis] >= 0) & (place[axis] < self.hole.shape[axis]) | self.periodic
        place[axis] = place[axis] % self.hole.shape[axis]
        number = place[0] * self.hole.shape[1] + place[1]
        return number, inside & ~self.hole.reshape(-1)[number]

    def _differences(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """That of each pixel to the next one along an axis, as it was where either comes from; the mean, where both know. And
        whether any of them knows."""
        flat = self.picture.reshape(-1, self.picture.shape[-1])
        after, own = self._knows(axis, 1)
        before, theirs = (np.roll(each, -1, axis) for each in self._knows(axis, -1))
        mine = flat[self.source] - flat[after]
        yours = flat[before] - flat[np.roll(self.source, -1, axis)]
        share = np.where(own & theirs, 0.5, own.astype(np.float32))[..., None]
        return (share * mine + (1.0 - share) * yours).astype(np.float32), own | theirs
