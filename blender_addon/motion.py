# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures moved along motion vectors, and which of their pixels can be trusted there. NumPy only.

Motion vectors are Cycles' pass Vector: H x W x 4 in pixels, x to the right and y up. The first two components lead from
a pixel to where its point was a frame ago, the last two are what leads from where it will be in a frame back to the pixel.
Rows run from the top.
"""

from __future__ import annotations

import numpy as np

RELATIVE, ABSOLUTE = 0.01, 0.5
"""How far, in squared pixels, the way there and the way back may differ (Sundaram, Brox and Keutzer, ECCV 2010)."""
WINDOW = 9
"""The side, in pixels, of the neighbourhoods whose brightness is compared: wide enough that noise does not matter."""
DARK = 1e-3
"""Light below this is no light: changes of it do not count."""
SAME, OTHER = 0.1, 0.25
"""A relative change of light that may still be noise, and one from which on nothing of the earlier picture fits."""


def warped(earlier: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The earlier picture, H x W x C, as it would look now: each pixel from where its point was, bilinear.

    Points that were outside of the picture get its edge; `inside` tells which.
    """
    height, width = earlier.shape[:2]
    x, y = _sources(vectors)
    x, y = np.clip(x, 0.0, width - 1.0), np.clip(y, 0.0, height - 1.0)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - left)[..., None], (y - top)[..., None]
    above = earlier[top, left] * (1.0 - across) + earlier[top, right] * across
    below = earlier[bottom, left] * (1.0 - across) + earlier[bottom, right] * across
    return (above * (1.0 - down) + below * down).astype(np.float32)


def _sources(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, H x W each, where each pixel's point was a frame ago."""
    y, x = np.mgrid[: vectors.shape[0], : vectors.shape[1]].astype(np.float32)
    return x + vectors[..., 0], y - vectors[..., 1]


def inside(vectors: np.ndarray) -> np.ndarray:
    """H x W: was the pixel's point in the picture a frame ago?"""
    x, y = _sources(vectors)
    height, width = vectors.shape[:2]
    return (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)


def visible(vectors: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """H x W: was the pixel's point to be seen a frame ago, of which `earlier` are the vectors?

    There and back again is nowhere: with a the way to the earlier pixel and b the way on from there,
    |a + b|^2 < 0.01 (|a|^2 + |b|^2) + 0.5, unless what was there then was something else.
    """
    there = vectors[..., :2]
    back = -warped(earlier[..., 2:], vectors)
    miss, lengths = ((there + back) ** 2).sum(-1), (there**2).sum(-1) + (back**2).sum(-1)
    return inside(vectors) & (miss < RELATIVE * lengths + ABSOLUTE)


def unmoved(vectors: np.ndarray) -> np.ndarray:
    """H x W: no vector at all, which is how Cycles leaves what has no surface, even when the camera turns."""
    return ~vectors.any(axis=-1)


def likeness(now: np.ndarray, then: np.ndarray) -> np.ndarray:
    """H x W in 0..1: how far the light of two pictures, H x W x 3, is the same; 0 where it differs by a quarter or more.

    Means of neighbourhoods are compared, so that the noise of few samples is taken for no change.
    """
    a, b = (_local_mean(np.maximum(each, 0.0).mean(-1)) for each in (now, then))
    change = np.abs(a - b) / np.maximum(np.maximum(a, b), DARK)
    return np.clip((OTHER - change) / (OTHER - SAME), 0.0, 1.0).astype(np.float32)


def _local_mean(values: np.ndarray) -> np.ndarray:
    """The mean of the neighbourhood of each pixel, H x W; the picture's edge goes on outside."""
    half = WINDOW // 2
    sums = np.pad(values.astype(np.float64), half, mode="edge")
    for axis in (0, 1):
        sums = np.cumsum(np.insert(sums, 0, 0.0, axis=axis), axis=axis)
        ends = [slice(None), slice(None)]
        starts = list(ends)
        ends[axis], starts[axis] = slice(WINDOW, None), slice(None, -WINDOW)
        sums = sums[tuple(ends)] - sums[tuple(starts)]
    return sums / WINDOW**2
