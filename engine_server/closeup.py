# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a picture around a mask, so that the network looks at the hole closely and not at the whole picture from afar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

AROUND = 2
"""A close-up is at least so many times as long as the hole on each side."""


@dataclass(frozen=True)
class CloseUp:
    """A box of a picture of `size` (height, width), after it was rolled by `shift` (down, right) if it tiles.

    `top`, `left`, `height`, `width` are in pixels of that size; other sizes of the same picture are cut in proportion.
    """

    size: tuple[int, int]
    shift: tuple[int, int]
    top: int
    left: int
    height: int
    width: int

    @property
    def whole(self) -> bool:
        """Is it all of the picture?"""
        return (self.height, self.width) == self.size

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """The box of H x W x C."""
        rows, columns = self._box(picture)
        return np.roll(picture, self._shift(picture), (0, 1))[rows, columns]

    def put_back(self, picture: np.ndarray, part: np.ndarray) -> np.ndarray:
        """A copy of the picture with another content of the box."""
        shift, (rows, columns) = self._shift(picture), self._box(picture)
        made = np.roll(picture, shift, (0, 1))
        made[rows, columns] = part
        return np.roll(made, (-shift[0], -shift[1]), (0, 1))

    def _shift(self, picture: np.ndarray) -> tuple[int, int]:
        return tuple(round(n * a / b) for n, a, b in zip(self.shift, picture.shape, self.size, strict=False))

    def _box(self, picture: np.ndarray) -> tuple[slice, slice]:
        scale = [a / b for a, b in zip(picture.shape, self.size, strict=False)]
        ends = ((self.top, self.top + self.height), (self.left, self.left + self.width))
        spans = [(int(first * s + 1e-6), int(np.ceil(last * s - 1e-6))) for (first, last), s in zip(ends, scale, strict=True)]
        return slice(*spans[0]), slice(*spans[1])


def close_up(hole: np.ndarray, least: int, periodic: bool = False, around: int = AROUND) -> CloseUp:
    """Where to look at a hole, H x W booleans with any True: at `around` times its extent, but at `least` pixels a side
    where the picture has them. A picture that tiles is rolled until the hole does not lie over a border; where it reaches
    from border to border, the close-up is the whole picture."""
    lines = [hole.any(axis) for axis in (1, 0)]
    shift = tuple(_turn(line) if periodic else 0 for line in lines)
    spans = [_span(np.roll(line, turn)) for line, turn in zip(lines, shift, strict=True)]
    side = max(least, *(around * (last - first) for first, last in spans))
    boxes = [_around(span, side, length) for span, length in zip(spans, hole.shape, strict=True)]
    if periodic and any(length == whole for (_, length), whole in zip(boxes, hole.shape, strict=True)):
        boxes = [(0, length) for length in hole.shape]
    (top, height), (left, width) = boxes
    return CloseUp(hole.shape, shift, top, left, height, width)


def _turn(line: np.ndarray) -> int:
    """How far a ring has to be turned so that its longest run of False lies over its ends, half before and half behind."""
    marked = np.flatnonzero(line)
    gaps = np.diff(marked, append=marked[0] + len(line))
    widest = int(gaps.argmax())
    first_after = marked[(widest + 1) % len(marked)]
    return int((int(gaps[widest]) - 1) // 2 - first_after) % len(line)


def _span(line: np.ndarray) -> tuple[int, int]:
    marked = np.flatnonzero(line)
    return int(marked[0]), int(marked[-1]) + 1


def _around(span: tuple[int, int], side: int, length: int) -> tuple[int, int]:
    """Start and length of a stretch of `side`, or all there is, with the span in its middle as far as the ends allow."""
    side = min(side, length)
    start = (span[0] + span[1] - side) // 2
    return min(max(start, 0), length - side), side
