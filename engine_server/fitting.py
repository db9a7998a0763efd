# SPDX-License-Identifier: GPL-3.0-or-later
"""Any size in, the same size out: a picture is made smaller for the network, and what it answers is made large again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from . import channels
from .upsample import Enlarger, reduce_area, resize_bilinear

LARGEST_RESULT = 4096
"""Longest side of a result in pixels; a larger picture is answered at this size."""
GUIDED = ("albedo", "roughness", "metalness", "normals", "diffuse", "specular")
"""Channels whose detail follows that of the photograph."""


@dataclass(frozen=True)
class Fit:
    """The two sizes of a job, each (height, width): what the network sees, and what the result has."""

    working: tuple[int, int]
    result: tuple[int, int]


def fit(height: int, width: int, side: int, multiple: int = 1) -> Fit:
    """Sizes for a picture: the network sees it with a longest side of at most `side`, proportions kept but for rounding to
    whole multiples, as periodic pictures need them."""
    working = tuple(max(1, round(n / multiple)) * multiple for n in _within(height, width, side))
    return Fit(working, _within(height, width, LARGEST_RESULT))


def _within(height: int, width: int, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def same_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Have pictures of these sizes the same proportions, to within a pixel of the smaller one?"""
    (h, w), (other_h, other_w) = first, second
    return abs(h * other_w - w * other_h) <= max(min(h, other_h), min(w, other_w))


def resized(picture: np.ndarray, size: tuple[int, int], periodic: bool = False) -> np.ndarray:
    """A picture at another size: the mean over each new pixel's area, or bilinear where it grows."""
    if picture.shape[:2] == size:
        return picture
    smaller = tuple(min(a, b) for a, b in zip(picture.shape[:2], size, strict=True))
    return resize_bilinear(reduce_area(picture, *smaller), *size, periodic).astype(np.float32)


def within(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture made smaller, so far that its longer side is at most `side`."""
    return resized(picture, _within(*picture.shape[:2], side))


def enlarged(
    pictures: Mapping[str, np.ndarray], size: tuple[int, int], guide: np.ndarray | None, periodic: bool = False
) -> dict[str, np.ndarray]:
    """A team's answers, all of one size, at the result's size, in model encoding; `guide` is the photograph at that size, if
    there is one."""
    small = next(iter(pictures.values())).shape[:2]
    if small == size:
        return dict(pictures)
    grows = guide is not None and small[0] <= size[0] and small[1] <= size[1]
    enlarger = Enlarger(guide, small, periodic=periodic) if grows and set(pictures) & set(GUIDED) else None
    return {
        name: _guided(name, picture, enlarger) if enlarger and name in GUIDED else resized(picture, size, periodic)
        for name, picture in pictures.items()
    }


def _guided(name: str, picture: np.ndarray, enlarger: Enlarger) -> np.ndarray:
    grey = channels.channel(name).components == 1
    result = np.clip(enlarger.enlarged(channels.single_value(picture) if grey else picture), 0.0, 1.0)
    return channels.normals_encode(channels.normals_decode(result)) if name == "normals" else result
