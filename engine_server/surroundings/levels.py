# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture with a hole in several sizes: where filling starts, and what it goes through."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from .patchwork import PIECE
from .windows import Grid, Tensor

THICK, SMALL = 28, 2**16
"""The hole of the coarsest level is at most about so many pixels thick, and the picture has at most so many."""
COARSE = 256
"""Pixels a side at which it is seen how thick the hole is."""
LEAST = 8 * PIECE
"""No level is narrower, pixels."""
ENOUGH = 64
"""So many windows are known on every level."""

Level = tuple[Tensor, Tensor]
"""Values C x H x W, and the hole, H x W booleans."""


def levels_of(values: Tensor, hole: np.ndarray, periodic: bool) -> tuple[list[Level], int]:
    """A picture and its hole in sizes from coarse to fine, each twice the one before, and which of them is the usual start: the
    first, or the second where a still smaller one is large enough to start from. None if too little is known."""
    levels, thick = [], _thickness(torch.from_numpy(hole), periodic)
    level = values, torch.from_numpy(hole)
    while _known(level[1], periodic) >= ENOUGH:
        levels.insert(0, level)
        height, width = level[1].shape
        if (thick <= THICK and height * width <= SMALL) or min(height, width) < 2 * LEAST:
            break
        level, thick = _halved(*level), thick / 2
    smaller = _halved(*levels[0]) if levels and min(levels[0][1].shape) >= 2 * LEAST else None
    if smaller is not None and _known(smaller[1], periodic) >= ENOUGH:
        return [smaller, *levels], 1
    return levels, 0


def _known(hole: Tensor, periodic: bool) -> int:
    if min(hole.shape) < PIECE:
        return 0
    return int((~Grid(*hole.shape, periodic, PIECE).any(hole)).sum())


def _thickness(hole: Tensor, periodic: bool) -> int:
    """About how many pixels the deepest place of the hole is away from what is known."""
    scale = 1 + max(hole.shape) // COARSE
    rest = functional.max_pool2d(hole.float()[None, None], scale, ceil_mode=True)
    depth, mode = 0, "circular" if periodic else "replicate"
    while rest.any() and depth < COARSE:
        rest = -functional.max_pool2d(functional.pad(-rest, (1, 1, 1, 1), mode=mode), 3, 1)
        depth += 1
    return depth * scale


def _halved(values: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """Half the size: what is known of four pixels each; a hole where any of them is."""
    height, width = hole.shape
    more = (0, width % 2, 0, height % 2)
    known = functional.pad((~hole).float()[None, None], more, mode="replicate")
    share = functional.avg_pool2d(known, 2)
    values = functional.avg_pool2d(functional.pad(values[None], more, mode="replicate") * known, 2) / share.clamp_min(0.25)
    return values[0], share[0, 0] < 1
