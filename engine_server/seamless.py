# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a surface as tiles whose opposite borders meet. NumPy only.

The right border of a picture is laid over its left one, and the two are joined where they differ least: along the cheapest
path through the overlap (Efros and Freeman, "Image Quilting for Texture Synthesis and Transfer", SIGGRAPH 2001). Fine detail
changes over within a few pixels of the path, coarse brightness over the whole overlap, so that neither a doubled detail nor
a step of brightness remains (Burt and Adelson, "A Multiresolution Spline", ACM TOG 1983, with two bands). Then the same from
top to bottom. All channels of a surface are cut along the same path.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .upsample import box_mean, reduce_area

LEAST, MOST = 1.0 / 8.0, 1.0 / 3.0
"""Shares of each side that may be spent on the overlap, whichever joins best: the tile is so much smaller than the picture."""
LOOK = 128
"""Pixels a side at which overlaps are compared."""
SHARP, COARSE = 1.0 / 12.0, 1.0 / 4.0
"""Shares of the overlap: over which fine detail changes, and the radius of the means that are coarse brightness."""
SMALLEST = 16
"""A side of fewer pixels is not cut."""


def border_ratio(picture: np.ndarray) -> float:
    """How much the borders of H x W x C would show: the mean difference between opposite borders, divided by the mean
    difference of neighbours within; the larger of both directions. About 1 where the picture tiles."""
    return max(_ratio(picture), _ratio(picture.swapaxes(0, 1)))


def _ratio(picture: np.ndarray) -> float:
    within = float(np.abs(np.diff(picture, axis=1)).mean()) if picture.shape[1] > 1 else 0.0
    across = float(np.abs(picture[:, 0] - picture[:, -1]).mean())
    return 1.0 if across <= 1e-6 else across / max(within, 1e-6)


def tile(pictures: Mapping[str, np.ndarray], guide: np.ndarray) -> dict[str, np.ndarray]:
    """H x W x C pictures of one surface as tiles, cut alike, an eighth to a third smaller; sides below 16 pixels stay whole.

    `guide`, H x W x C, is what shall differ least at the cut. Values may overshoot a little where bands are mixed.
    """
    names = list(pictures)
    stacked = np.concatenate([np.asarray(guide, np.float32), *(pictures[name] for name in names)], axis=-1)
    parts = guide.shape[-1]
    whole = _closed(_closed(stacked, parts).swapaxes(0, 1), parts).swapaxes(0, 1)
    ends = np.cumsum([parts, *(pictures[name].shape[-1] for name in names)])
    return {
        name: np.ascontiguousarray(whole[..., first:last])
        for name, first, last in zip(names, ends[:-1], ends[1:], strict=True)
    }


def _closed(stacked: np.ndarray, parts: int) -> np.ndarray:
    """Closed from right to left; the first `parts` components say where."""
    width = stacked.shape[1]
    if width < SMALLEST:
        return stacked
    overlap = best_overlap(stacked[..., :parts])
    left, right = stacked[:, :overlap], stacked[:, width - overlap :]
    joined = _mixed(left, right, cheapest_path(_cost(left[..., :parts], right[..., :parts])))
    return np.concatenate([joined, stacked[:, overlap : width - overlap]], axis=1)


def best_overlap(guide: np.ndarray) -> int:
    """So many columns of overlap join the right border of H x W x C to its left one with the least difference along the
    cut: that of a pattern which repeats is a whole number of its periods."""
    width = guide.shape[1]
    small = reduce_area(guide, min(len(guide), LOOK), min(width, LOOK))
    columns = small.shape[1]
    tried = range(round(columns * LEAST), round(columns * MOST) + 1)
    return round(min(tried, key=lambda n: _difference(small[:, :n], small[:, columns - n :])) * width / columns)


def _difference(left: np.ndarray, right: np.ndarray) -> float:
    cost = _cost(left, right)
    return float(np.take_along_axis(cost, cheapest_path(cost)[:, None], 1).mean())


def _cost(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """H x W: the difference around each pixel, not just where both happen to be alike."""
    return box_mean(np.square(left - right).sum(-1, keepdims=True), 1)[..., 0]


def cheapest_path(cost: np.ndarray) -> np.ndarray:
    """For each row of H x W costs a column: the path from top to bottom with the least sum, moving by at most one column
    a row (dynamic programming)."""
    sums, wide = cost.astype(np.float64), cost.shape[1]
    for row in range(1, len(sums)):
        sums[row] += _least_nearby(sums[row - 1])
    path = np.empty(len(sums), np.int64)
    path[-1] = sums[-1].argmin()
    for row in range(len(sums) - 2, -1, -1):
        first = max(path[row + 1] - 1, 0)
        path[row] = first + sums[row, first : min(path[row + 1] + 2, wide)].argmin()
    return path


def _least_nearby(sums: np.ndarray) -> np.ndarray:
    wide = np.pad(sums, 1, constant_values=np.inf)
    return np.minimum(np.minimum(wide[:-2], wide[2:]), sums)


def _mixed(left: np.ndarray, right: np.ndarray, path: np.ndarray) -> np.ndarray:
    """From `right` at the first column to `left` at the last: sharply at the path what is fine, evenly what is coarse."""
    width = left.shape[1]
    columns = np.arange(width, dtype=np.float32)
    even = np.broadcast_to((columns / max(width - 1, 1))[None, :, None], (*left.shape[:2], 1))
    sharp = (columns[None] - path[:, None]) / max(2.0, width * SHARP) + 0.5
    sharp = np.clip(np.minimum(np.maximum(sharp, 0.0), even[..., 0] * width), 0.0, 1.0)[..., None]
    sharp = np.maximum(sharp, 1.0 - (1.0 - even) * width)  # nothing else than `right` at the first, `left` at the last
    coarse = [box_mean(each, max(1, round(width * COARSE))) for each in (left, right)]
    fine = [each - low for each, low in zip((left, right), coarse, strict=True)]
    return _mix(*coarse, even) + _mix(*fine, sharp)


def _mix(left: np.ndarray, right: np.ndarray, share: np.ndarray) -> np.ndarray:
    return (right + share * (left - right)).astype(np.float32)
