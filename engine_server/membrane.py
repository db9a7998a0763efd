# SPDX-License-Identifier: GPL-3.0-or-later
"""Holes in pictures filled smoothly from their rims, and patches set into them without a visible rim. NumPy only.

A hole is filled with the membrane that hangs from its rim, the solution of Laplace's equation. A patch keeps its own
gradients and is moved by the membrane of what it differs by at the rim, which solves Poisson's equation (Perez, Gangnet and
Blake, "Poisson Image Editing", SIGGRAPH 2003). Solved by conjugate gradients from a guess at half the size.
"""

from __future__ import annotations

import numpy as np

from .upsample import resize_bilinear

ROUNDS, FEW_ROUNDS, LARGE = 300, 30, 2**14
"""So many at most; few in holes of more pixels, where the guess lacks nothing but what is fine."""
TOLERANCE = 1e-5
"""Of the residual, relative to that of a hole full of zeros."""


def patched(picture: np.ndarray, patch: np.ndarray, hole: np.ndarray, periodic: bool = False) -> np.ndarray:
    """`picture`, H x W x C, with `patch`, of the same shape, where `hole`, H x W, is True, so that its rim does not show.

    If there is no picture beside the hole, the patch itself.
    """
    return np.where(hole[..., None], patch + filled(picture - patch, hole, periodic), picture)


def filled(values: np.ndarray, hole: np.ndarray, periodic: bool = False) -> np.ndarray:
    """`values`, H x W x C float32, with the hole, H x W booleans, filled by the membrane from its rim.

    Borders of the picture pull at nothing, or, with `periodic`, meet the opposite ones. What lies in the hole does not
    matter; if all is hole, the answer is 0.
    """
    values = np.where(hole[..., None], np.float32(0.0), values).astype(np.float32)
    if hole.all() or not hole.any():
        return values
    guess = np.where(hole[..., None], _guess(values, hole, periodic), np.float32(0.0))
    return values + _solved(values, hole, guess, periodic)


def _guess(values: np.ndarray, hole: np.ndarray, periodic: bool) -> np.ndarray:
    """The membrane of a picture of half the size, as large again."""
    sides = [(0, n % 2) for n in hole.shape]
    known = np.pad(~hole, sides).astype(np.float32)[..., None]
    quads = [np.pad(values, [*sides, (0, 0)])[y::2, x::2] for y in (0, 1) for x in (0, 1)]
    count = sum(known[y::2, x::2] for y in (0, 1) for x in (0, 1))
    small = filled(sum(quads) / np.maximum(count, 1.0), count[..., 0] == 0, periodic)
    return resize_bilinear(small, *(n + n % 2 for n in hole.shape), periodic)[: hole.shape[0], : hole.shape[1]]


def _solved(values: np.ndarray, hole: np.ndarray, guess: np.ndarray, periodic: bool) -> np.ndarray:
    """What to add to `values` in the hole."""
    return relaxed(-_stretch(values, periodic), hole, periodic, guess)


def relaxed(aim: np.ndarray, hole: np.ndarray, periodic: bool, guess: np.ndarray | None = None, tie: float = 0.0) -> np.ndarray:
    """H x W x C values, 0 outside the hole, whose differences to their four neighbours add up to `aim` in it: Poisson's equation.
    A `tie` to 0 lets nothing reach much further than tie^-1/2 pixels."""
    answer, box = np.zeros_like(aim), _box(hole)
    if periodic and any(part.start == 0 or part.stop >= side for part, side in zip(box, hole.shape, strict=True)):
        box = (slice(None), slice(None))  # it may reach over the borders
    start = answer[box] if guess is None else guess[box]
    answer[box] = _conjugate_gradients(aim[box], hole[box], periodic, start, tie)
    return answer


def _box(hole: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the hole and one more to each side, where there are such. Beyond them nothing changes."""
    spans = [np.flatnonzero(hole.any(axis)) for axis in (1, 0)]
    return tuple(slice(max(span[0] - 1, 0), span[-1] + 2) if len(span) else slice(0, 0) for span in spans)


def _conjugate_gradients(aim: np.ndarray, hole: np.ndarray, periodic: bool, answer: np.ndarray, tie: float) -> np.ndarray:
    """Of `relaxed`, on all components at once."""
    inside = hole[..., None].astype(np.float32)
    stretched = lambda values: inside * (_stretch(values, periodic) + np.float32(tie) * values)  # noqa: E731
    aim = inside * aim
    least = TOLERANCE**2 * float(np.sum(aim * aim, dtype=np.float64))
    rest = aim - stretched(answer)
    way, size = rest.copy(), float(np.sum(rest * rest, dtype=np.float64))
    for _ in range(ROUNDS if hole.sum() <= LARGE else FEW_ROUNDS):
        if size <= least:
            break
        pull = stretched(way)
        step = np.float32(size / max(float(np.sum(way * pull, dtype=np.float64)), 1e-30))
        answer = answer + step * way
        rest = rest - step * pull
        before, size = size, float(np.sum(rest * rest, dtype=np.float64))
        way = rest + np.float32(size / before) * way
    return answer


def _stretch(values: np.ndarray, periodic: bool) -> np.ndarray:
    """For each pixel the sum of its differences to its four neighbours: the negative Laplacian."""
    wide = np.pad(values, [(1, 1), (1, 1), (0, 0)], "wrap" if periodic else "edge")
    around = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    return 4.0 * values - around
