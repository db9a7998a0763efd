# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a material's maps before they are rendered: cut, turned, recoloured, made metal, blended.

Everything is random but for its `numpy.random.Generator`. Maps stay exact: normals turn with their picture.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import interpolate

from ..colour import luminance
from .generate_materials import Maps, unit
from .generate_noise import smoothstep, spectral_noise
from .generate_procedural import METALS

Random = np.random.Generator
DARKEST, BRIGHTEST = 0.01, 0.95  # base colours of real surfaces


def each(maps: Maps, change) -> Maps:
    """The same change of every map."""
    return Maps(*(change(m) for m in (maps.base_colour, maps.normals, maps.roughness, maps.metalness)))


def with_unit_normals(maps: Maps) -> Maps:
    """Normals at unit length again, after averaging."""
    return replace(maps, normals=unit(maps.normals))


def resize(picture: np.ndarray, size: int) -> np.ndarray:
    """H x W x C to size x size x C, averaged over what a pixel covers where it shrinks."""
    if picture.shape[:2] == (size, size):
        return picture
    tensor = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    mode = {"mode": "area"} if _shrinks_evenly(picture, size) else {"mode": "bilinear", "antialias": True}
    return interpolate(tensor, (size, size), **mode)[0].permute(1, 2, 0).numpy()


def _shrinks_evenly(picture: np.ndarray, size: int) -> bool:
    return all(side % size == 0 for side in picture.shape[:2])


def random_scale(random: Random) -> float:
    """How much of a texture's width the picture shows, 0.35 to 2; mostly the whole."""
    return 1.0 if random.random() < 0.6 else float(np.exp(random.uniform(np.log(0.35), np.log(2.0))))


def cut(maps: Maps, size: int, scale: float, random: Random) -> Maps:
    """A square window of `scale` times the texture's width, at a random place of the endless tiling, size x size."""
    height, width = maps.roughness.shape[:2]
    shift = (0, 0) if scale == 1.0 and random.random() < 0.5 else tuple(random.integers(0, (height, width)))
    rows = (np.arange(max(2, round(height * scale))) + shift[0]) % height
    columns = (np.arange(max(2, round(width * scale))) + shift[1]) % width
    return with_unit_normals(each(maps, lambda m: resize(m[np.ix_(rows, columns)], size)))


def flip(maps: Maps) -> Maps:
    """Mirrored left to right; the normals' x changes its sign."""
    mirrored = each(maps, lambda m: np.ascontiguousarray(m[:, ::-1]))
    return replace(mirrored, normals=mirrored.normals * np.float32([-1, 1, 1]))


def rotate(maps: Maps, quarters: int) -> Maps:
    """Turned anticlockwise by quarters of a circle, the normals with it: (x, y) becomes (-y, x) for each."""
    turned = each(maps, lambda m: np.ascontiguousarray(np.rot90(m, quarters)))
    normals = turned.normals
    for _ in range(quarters % 4):
        normals = np.stack([-normals[..., 1], normals[..., 0], normals[..., 2]], axis=-1)
    return replace(turned, normals=normals)


def orient(maps: Maps, random: Random) -> Maps:
    """One of the eight ways to lay a square."""
    maps = flip(maps) if random.random() < 0.5 else maps
    return rotate(maps, int(random.integers(4)))


def strengthen(normals: np.ndarray, factor: float) -> np.ndarray:
    """Normals whose slopes are multiplied by `factor`."""
    return unit(normals * np.float32([factor, factor, 1.0]))


def rotate_hue(colour: np.ndarray, angle: float) -> np.ndarray:
    """Colour turned about the grey axis by `angle` in radians (Rodrigues' formula), clipped to 0..1."""
    axis = np.full(3, np.sqrt(1.0 / 3.0))
    cross = np.cross(np.eye(3), axis)
    matrix = np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * np.outer(axis, axis)
    return np.clip(colour @ matrix.T.astype(np.float32), 0.0, 1.0)


def recolour(colour: np.ndarray, random: Random, wildly: float = 0.25) -> np.ndarray:
    """Another hue, saturation, contrast and value, mostly little, in the share `wildly` much; linear base colour in and out."""
    wild = random.random() < wildly
    grey = luminance(colour)[..., None]
    colour = grey + (colour - grey) * np.float32(random.uniform(0.6, 1.4) if not wild else random.uniform(0.0, 2.0))
    colour = rotate_hue(colour, random.normal(0.0, 0.12) if not wild else random.uniform(-np.pi, np.pi))
    middle = max(float(colour.mean()), 1e-3)
    gamma = np.float32(np.exp(random.normal(0.0, 0.15)))
    gain = np.float32(np.exp(random.normal(0.0, 0.2 if not wild else 0.45)))
    colour = middle * (np.maximum(colour, 1e-5) / middle) ** gamma * gain
    return np.clip(colour, DARKEST, BRIGHTEST).astype(np.float32)


def reroughen(roughness: np.ndarray, random: Random) -> np.ndarray:
    """Roughness with another contrast and level."""
    middle = roughness.mean()
    changed = middle + (roughness - middle) * random.uniform(0.5, 1.5) + random.normal(0.0, 0.12)
    return np.clip(changed, 0.03, 1.0).astype(np.float32)


def make_metal(maps: Maps, random: Random) -> Maps:
    """A scan's relief in metal: a metal's colour that keeps some of the scan's light and dark, and glossier."""
    light = luminance(maps.base_colour)[..., None]
    shade = (light / max(float(light.mean()), 1e-3)) ** random.uniform(0.05, 0.4)
    colour = METALS[random.integers(len(METALS))] * np.clip(shade, 0.4, 1.3) * random.uniform(0.75, 1.0)
    roughness = np.clip(maps.roughness * random.uniform(0.4, 0.9), 0.08, 1.0)
    ones = np.ones_like(maps.metalness)
    return Maps(np.clip(colour, 0.05, 1.0).astype(np.float32), maps.normals, roughness.astype(np.float32), ones)


def blend(first: Maps, second: Maps, random: Random) -> Maps:
    """Two materials in patches of one picture."""
    size = first.roughness.shape[0]
    noise = spectral_noise(random, size, random.uniform(1.4, 2.4), float(random.integers(1, 4)))
    edge, softness = random.uniform(0.3, 0.7), random.uniform(0.01, 0.2)
    mask = smoothstep(edge - softness, edge + softness, noise).astype(np.float32)[..., None]
    pairs = zip(*([m.base_colour, m.normals, m.roughness, m.metalness] for m in (first, second)), strict=True)
    return with_unit_normals(Maps(*(a + (b - a) * mask for a, b in pairs)))


def vary(maps: Maps, random: Random) -> Maps:
    """The changes that every sample may meet. About a third of them leaves all values as scanned."""
    if random.random() < 0.35:
        return maps
    if random.random() < 0.06 and maps.metalness.max() == 0.0:
        maps = make_metal(maps, random)
    colour = recolour(maps.base_colour, random) if random.random() < 0.75 else maps.base_colour
    roughness = reroughen(maps.roughness, random) if random.random() < 0.6 else maps.roughness
    normals = strengthen(maps.normals, random.uniform(0.5, 1.5)) if random.random() < 0.5 else maps.normals
    return Maps(colour, normals, roughness, maps.metalness)
