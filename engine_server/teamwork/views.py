# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers averaged over several views of one picture: quarter turns of it, and small shifts.

A small network answers each patch nearly for itself. A photograph of a surface has no up, so its quarter turns are as good
as itself; a picture that is shifted by less than a latent cell has its patches, and the cells within, elsewhere. What all views
agree on stays, and the edges of patches and cells do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .pictures import as_picture

VECTORS = ("normals", "halfway")
"""Channels whose first two components are a direction in the picture, encoded as n * 0.5 + 0.5."""

QUARTERS = (0, 2, 1, 3)
CORNERS = ((-1, -1), (1, 1), (-1, 1), (1, -1))

Pictures = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class View:
    """So many counter-clockwise quarter turns, then a shift by so many pixels."""

    quarters: int = 0
    down: int = 0
    right: int = 0


def views(turns: int, shifts: int, factor: int) -> list[View]:
    """The views that an answer is averaged over: as many as the larger of both numbers (1 to 4); each goes round in its own list.

    The shifts are a quarter of a latent cell of `factor` pixels to each side, so that the cells' edges come to lie between those of
    the opposite shift, and with them those of patches.
    """
    step = max(factor // 4, 1) if shifts > 1 else 0
    corners = CORNERS[:shifts]
    return [View(QUARTERS[i % turns], *(step * n for n in corners[i % shifts])) for i in range(max(turns, shifts))]


def turned(pictures: Pictures, quarters: int) -> dict[str, np.ndarray]:
    """H x W x 3 pictures in 0..1, turned counter-clockwise by so many quarters; what points somewhere turns along."""
    return {name: _turned(name, picture, quarters % 4) for name, picture in pictures.items()}


def _turned(name: str, picture: np.ndarray, quarters: int) -> np.ndarray:
    made = np.ascontiguousarray(np.rot90(picture, quarters))
    for _ in range(quarters if name in VECTORS else 0):
        x, y = made[..., 0].copy(), made[..., 1].copy()
        made[..., 0], made[..., 1] = 1.0 - y, x  # (x, y) -> (-y, x) around the middle, 0.5
    return made


def shifted(pictures: Pictures, down: int, right: int, periodic: bool = False) -> dict[str, np.ndarray]:
    """H x W x 3 pictures moved by so many pixels; what comes in at a border is mirrored or, if the picture is periodic,
    what went out at the opposite one."""
    if periodic:
        return {name: np.roll(picture, (down, right), (0, 1)) for name, picture in pictures.items()}
    sides = [(max(n, 0), max(-n, 0)) for n in (down, right)]
    return {name: _shifted(picture, sides) for name, picture in pictures.items()}


def _shifted(picture: np.ndarray, sides: list[tuple[int, int]]) -> np.ndarray:
    wide = np.pad(picture, [*sides, (0, 0)], mode="symmetric")
    (_, bottom), (_, right) = sides
    return wide[bottom : bottom + picture.shape[0], right : right + picture.shape[1]]


def averaged(
    pictures: Pictures, seen: list[View], answer: Callable[[Pictures, int], Pictures], periodic: bool = False
) -> dict[str, np.ndarray]:
    """The mean of `answer(what a view shows, index of the view)`, turned and shifted back, over all views."""
    given = {name: as_picture(name, picture) for name, picture in pictures.items()}
    answers = []
    for i, view in enumerate(seen):
        shown = shifted(turned(given, view.quarters), view.down, view.right, periodic)
        back = shifted(answer(shown, i), -view.down, -view.right, periodic)
        answers.append(turned(back, -view.quarters))
    return {name: np.mean([each[name] for each in answers], axis=0, dtype=np.float32) for name in answers[0]}
