# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeded patterns that tile, all size x size float32 in 0..1, and normals of a height."""

from __future__ import annotations

import numpy as np

Random = np.random.Generator


def stretch(field: np.ndarray) -> np.ndarray:
    """The field's 1st to 99th percentile brought to 0..1 and clipped; a constant field becomes 0."""
    low, high = np.percentile(field, (1.0, 99.0))
    return np.clip((field - low) / max(high - low, 1e-9), 0.0, 1.0).astype(np.float32)


def smoothstep(edge0: float, edge1: float, x: np.ndarray) -> np.ndarray:
    """Hermite's 0..1 ramp between two edges."""
    t = np.clip((x - edge0) / (edge1 - edge0), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _frequencies(size: int, stretch_x: float, stretch_y: float) -> np.ndarray:
    y, x = np.fft.fftfreq(size)[:, None] * size, np.fft.rfftfreq(size) * size
    return np.hypot(y * stretch_y, x * stretch_x)


def spectral_noise(
    random: Random, size: int, slope: float = 1.8, lowest: float = 1.0, stretching: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Noise of amplitude 1 / frequency^slope from `lowest` periods up; `stretching` (x, y) > 1 smears along an axis."""
    frequency = _frequencies(size, *stretching)
    amplitude = np.where(frequency >= lowest * 0.999, np.maximum(frequency, 1.0) ** -slope, 0.0)
    phase = np.fft.rfft2(random.standard_normal((size, size)))
    return stretch(np.fft.irfft2(phase * amplitude, (size, size)))


def cells(random: Random, size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Worley's pattern of about count x count jittered cells: (distance to the border 0..1, a value per cell)."""
    y, x = (np.mgrid[0:size, 0:size] + 0.5) * (count / size)
    jitter, values = random.random((count, count, 2)), random.random((count, count))
    nearest = np.full((2, size, size), np.inf, np.float32)
    owner = np.zeros((size, size), np.float32)
    for step in np.ndindex(3, 3):
        i, j = y.astype(int) + step[0] - 1, x.astype(int) + step[1] - 1
        place = jitter[i % count, j % count]
        distance = np.hypot(y - i - place[..., 0], x - j - place[..., 1])
        owner = np.where(distance < nearest[0], values[i % count, j % count], owner)
        nearest[1] = np.minimum(np.maximum(distance, nearest[0]), nearest[1])
        nearest[0] = np.minimum(distance, nearest[0])
    return np.clip(nearest[1] - nearest[0], 0.0, 1.0), owner.astype(np.float32)


def bricks(random: Random, size: int, rows: int, columns: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """A running bond: (distance to the joint in brick heights, a value per brick). `shift` moves every other row."""
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size
    row = (y * rows).astype(int)
    along = x * columns + shift * (row % 2)
    column = np.floor(along).astype(int) % columns
    aspect = rows / columns
    across_x, across_y = along % 1.0, (y * rows) % 1.0
    distance = np.minimum(np.minimum(across_x, 1.0 - across_x) * aspect, np.minimum(across_y, 1.0 - across_y))
    return distance.astype(np.float32), random.random((rows, columns)).astype(np.float32)[row, column]


def weave(size: int, count: int) -> np.ndarray:
    """The height of a plain weave of count x count threads."""
    y, x = (np.mgrid[0:size, 0:size] + 0.5) * (count / size)
    over = ((x.astype(int) + y.astype(int)) % 2).astype(bool)
    warp = np.sin(np.pi * (x % 1.0)) * (0.55 + 0.45 * np.sin(np.pi * (y % 1.0)))
    weft = np.sin(np.pi * (y % 1.0)) * (0.55 + 0.45 * np.sin(np.pi * (x % 1.0)))
    return np.where(over, np.maximum(warp, 0.6 * weft), np.maximum(weft, 0.6 * warp)).astype(np.float32)


def scratches(random: Random, size: int, count: int) -> np.ndarray:
    """Fine straight lines in random directions, 1 on a scratch, wrapped around the borders."""
    canvas = np.zeros((size, size), np.float32)
    for _ in range(count):
        start, angle = random.random(2) * size, random.random() * 2.0 * np.pi
        steps = np.arange(random.integers(size // 8, size))
        i, j = ((start[axis] + steps * f(angle)).astype(int) % size for axis, f in enumerate((np.sin, np.cos)))
        canvas[i, j] = np.maximum(canvas[i, j], random.uniform(0.3, 1.0))
    return canvas


def normals_of_height(height: np.ndarray, tilt: float) -> np.ndarray:
    """Unit OpenGL normals H x W x 3 of a tiling height whose root mean square slope is scaled to `tilt`."""
    x = np.roll(height, -1, axis=1) - np.roll(height, 1, axis=1)
    y = np.roll(height, 1, axis=0) - np.roll(height, -1, axis=0)
    scale = tilt / max(float(np.sqrt((x * x + y * y).mean())), 1e-9)
    normals = np.stack([-x * scale, -y * scale, np.ones_like(x)], axis=-1)
    return (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).astype(np.float32)
