# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers averaged over quarter turns of the picture, for teams whose pictures have no up: photographs of surfaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .pictures import as_picture

VECTORS = ("normals", "halfway")
"""Channels whose first two components are a direction in the picture, encoded as n * 0.5 + 0.5."""

Pictures = Mapping[str, np.ndarray]


def turned(pictures: Pictures, quarters: int) -> dict[str, np.ndarray]:
    """H x W x 3 pictures in 0..1, turned counter-clockwise by so many quarters; what points somewhere turns along."""
    return {name: _turned(name, picture, quarters % 4) for name, picture in pictures.items()}


def _turned(name: str, picture: np.ndarray, quarters: int) -> np.ndarray:
    made = np.ascontiguousarray(np.rot90(picture, quarters))
    for _ in range(quarters if name in VECTORS else 0):
        x, y = made[..., 0].copy(), made[..., 1].copy()
        made[..., 0], made[..., 1] = 1.0 - y, x  # (x, y) -> (-y, x) around the middle, 0.5
    return made


def averaged(pictures: Pictures, turns: int, answer: Callable[[Pictures, int], Pictures]) -> dict[str, np.ndarray]:
    """The mean of `answer(turned pictures, which turn)`, turned back, over the first `turns` of 0, 2, 1 and 3 quarters."""
    given = {name: as_picture(name, picture) for name, picture in pictures.items()}
    quarters = (0, 2, 1, 3)[:turns]
    answers = [turned(answer(turned(given, q), i), -q) for i, q in enumerate(quarters)]
    return {name: np.mean([each[name] for each in answers], axis=0, dtype=np.float32) for name in answers[0]}
