# SPDX-License-Identifier: GPL-3.0-or-later
"""Random holes, as people paint them over what shall be made anew: blots, strokes, boxes."""

from __future__ import annotations

import numpy as np
import torch

Random = np.random.Generator


def random_hole(side: tuple[int, int], random: Random) -> torch.Tensor:
    """1 within and 0 outside a hole of a twentieth to half of the picture, height x width float32; never empty."""
    height, width = side
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    made = np.zeros(side, bool)
    for _ in range(random.integers(1, 4)):
        made |= (_box if random.random() < 0.3 else _stroke)(rows, columns, random)
    if not made.any():
        made[height // 2, width // 2] = True
    return torch.from_numpy(made.astype(np.float32))


def _box(rows: np.ndarray, columns: np.ndarray, random: Random) -> np.ndarray:
    height, width = rows.shape
    tall, wide = random.uniform(0.15, 0.5, 2) * (height, width)
    top, left = random.uniform(0, 1, 2) * (height - tall, width - wide)
    return (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)


def _stroke(rows: np.ndarray, columns: np.ndarray, random: Random) -> np.ndarray:
    """All that is nearer than a brush's radius to a line; a short line is a blot."""
    height, width = rows.shape
    (y, x), radius = random.uniform(0, 1, 2) * (height, width), random.uniform(0.06, 0.22) * height
    dy, dx = random.normal(0, 0.25 * height, 2)
    along = np.clip(((rows - y) * dy + (columns - x) * dx) / max(dy * dy + dx * dx, 1e-6), 0.0, 1.0)
    return np.hypot(rows - y - along * dy, columns - x - along * dx) < radius
