# SPDX-License-Identifier: GPL-3.0-or-later
"""Materials out of noise: a height, colours and roughness that follow it, normals that fit it.

They widen what the scans show: colours, gloss and shapes that no scan has, with exact ground truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .generate_materials import Maps
from .generate_noise import (
    bricks,
    cells,
    normals_of_height,
    scratches,
    smoothstep,
    spectral_noise,
    weave,
)

Random = np.random.Generator

# Base colours of metals, linear: iron, aluminium, copper, gold, brass, titanium, chromium, silver, bronze.
METALS = np.float32(
    [
        [0.53, 0.51, 0.49],
        [0.91, 0.92, 0.92],
        [0.93, 0.62, 0.52],
        [1.00, 0.77, 0.34],
        [0.89, 0.74, 0.42],
        [0.54, 0.50, 0.45],
        [0.55, 0.56, 0.55],
        [0.96, 0.95, 0.92],
        [0.71, 0.48, 0.28],
    ]
)


@dataclass(frozen=True)
class Shape:
    """A pattern: its height, what varies its colour, and 1 where its second substance lies (joints, gaps)."""

    height: np.ndarray
    variation: np.ndarray
    joint: np.ndarray


def _rough_ground(random: Random, size: int) -> Shape:
    height = spectral_noise(random, size, random.uniform(1.2, 2.4), random.uniform(1.0, 8.0))
    variation = 0.6 * height + 0.4 * spectral_noise(random, size, random.uniform(0.8, 1.8))
    return Shape(height, variation, smoothstep(0.0, 0.35, 0.35 - height))


def _grain(random: Random, size: int) -> Shape:
    smear = (1.0, random.uniform(6.0, 20.0)) if random.random() < 0.5 else (random.uniform(6.0, 20.0), 1.0)
    height = spectral_noise(random, size, random.uniform(0.8, 1.6), random.uniform(4.0, 12.0), smear)
    return Shape(height, height, np.zeros_like(height))


def _stones(random: Random, size: int) -> Shape:
    border, value = cells(random, size, int(random.integers(4, 24)))
    dome = smoothstep(0.0, random.uniform(0.1, 0.6), border)
    height = dome * (0.7 + 0.3 * value) + random.uniform(0.02, 0.15) * spectral_noise(random, size, 1.3)
    return Shape(height, value, 1.0 - smoothstep(0.0, 0.06, border))


def _masonry(random: Random, size: int) -> Shape:
    rows = int(random.integers(2, 16))
    columns = max(1, round(rows * random.choice([0.4, 0.5, 1.0])))
    # A bond whose shifted rows are to tile needs an even number of them.
    rows += rows % 2
    distance, value = bricks(random, size, rows, columns, float(random.choice([0.0, 0.5])))
    width, bevel = random.uniform(0.02, 0.1), random.uniform(0.02, 0.12)
    body = smoothstep(width, width + bevel, distance)
    height = body * (0.8 + 0.2 * value) + random.uniform(0.0, 0.12) * spectral_noise(random, size, 1.2)
    return Shape(height, value, 1.0 - body)


def _cloth(random: Random, size: int) -> Shape:
    height = weave(size, 2 * int(random.integers(6, 32)))
    wear = spectral_noise(random, size, 1.5)
    return Shape(height * (0.8 + 0.2 * wear), 0.5 * height + 0.5 * wear, 1.0 - smoothstep(0.1, 0.5, height))


def _scratched(random: Random, size: int) -> Shape:
    lines = scratches(random, size, int(random.integers(5, 80)))
    wear = spectral_noise(random, size, random.uniform(1.5, 2.5))
    return Shape(0.3 * wear - 0.3 * lines, wear, lines)


def _bumps(random: Random, size: int) -> Shape:
    count = 2 * int(random.integers(3, 16))
    y, x = (np.mgrid[0:size, 0:size] + 0.5) * (count / size)
    staggered = x + 0.5 * (y.astype(int) % 2) * random.integers(0, 2)
    radius = np.hypot(staggered % 1.0 - 0.5, y % 1.0 - 0.5)
    bump = 1.0 - smoothstep(random.uniform(0.05, 0.25), random.uniform(0.3, 0.48), radius)
    return Shape(bump.astype(np.float32), spectral_noise(random, size, 1.8), bump)


SHAPES: tuple[Callable[[Random, int], Shape], ...] = (
    _rough_ground,
    _grain,
    _stones,
    _masonry,
    _cloth,
    _scratched,
    _bumps,
)


def random_colour(random: Random) -> np.ndarray:
    """A plausible linear base colour, 3: mostly dull, now and then saturated, 0.02 to 0.9."""
    value = random.beta(1.6, 2.4) * 0.88 + 0.02
    saturation = random.beta(1.2, 3.0) if random.random() < 0.75 else random.uniform(0.3, 0.95)
    hue = random.random() + np.float32([0.0, 1.0 / 3.0, 2.0 / 3.0])
    wheel = np.clip(np.abs((hue % 1.0) * 6.0 - 3.0) - 1.0, 0.0, 1.0)
    return (value * (1.0 - saturation * (1.0 - wheel))).astype(np.float32)


def _ramp(random: Random, values: np.ndarray) -> np.ndarray:
    """Colours along a ramp of two to four related ones, H x W x 3."""
    first = random_colour(random)
    spread = random.uniform(0.05, 0.6)
    stops = [first] + [first + (random_colour(random) - first) * spread for _ in range(random.integers(1, 4))]
    places = np.linspace(0.0, 1.0, len(stops))
    return np.stack([np.interp(values, places, [s[c] for s in stops]) for c in range(3)], axis=-1).astype(np.float32)


def _metal_colour(random: Random, variation: np.ndarray) -> np.ndarray:
    tint = METALS[random.integers(len(METALS))] * random.uniform(0.7, 1.0)
    return tint * (1.0 - random.uniform(0.0, 0.3) * variation[..., None])


def procedural_material(random: Random, size: int) -> Maps:
    """A random material of its own making, size x size, which tiles."""
    shape = SHAPES[random.integers(len(SHAPES))](random, size)
    variation = np.clip(shape.variation + random.uniform(0.0, 0.3) * (spectral_noise(random, size, 0.8) - 0.5), 0, 1)
    metal = random.random() < 0.15
    colour = _metal_colour(random, variation) if metal else _ramp(random, variation)
    metalness = np.full((size, size, 1), float(metal), np.float32)
    if random.random() < 0.7:
        joint = shape.joint[..., None]
        colour = colour + (random_colour(random) - colour) * joint
        metalness = metalness * np.round(1.0 - joint) if random.random() < 0.5 else metalness
    tilt = float(np.exp(random.uniform(np.log(0.01), np.log(0.5))))
    normals = normals_of_height(shape.height, tilt)
    return Maps(np.clip(colour, 0.0, 1.0), normals, _roughness(random, shape, metal), metalness)


def _roughness(random: Random, shape: Shape, metal: bool) -> np.ndarray:
    middle = random.uniform(0.1, 0.7) if metal else random.beta(2.5, 1.6)
    follow = random.uniform(-0.25, 0.25)
    rough = middle + follow * (shape.variation - 0.5) + random.uniform(-0.1, 0.4) * shape.joint
    return np.clip(rough, 0.03, 1.0).astype(np.float32)[..., None]
