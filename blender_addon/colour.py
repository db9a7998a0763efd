# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where Blender's stored pixels and scene-linear light are converted. NumPy only."""

from __future__ import annotations

import numpy as np

TO_REC709 = {
    "Linear Rec.2020": ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008349), (-0.018151, -0.100579, 1.118730)),
    "ACEScg": ((1.705051, -0.621792, -0.083259), (-0.130257, 1.140805, -0.010548), (-0.024003, -0.128969, 1.152972)),
}
"""Matrices from the light of Blender's working spaces, from their primaries (ITU-R BT.2020, and BT.2087 for the first; ACES AP1 with
its white adapted to D65 by Bradford's method)."""
ACES = "ACES - "
"""Before the name of its space in older ACES configurations."""
DIM, SLOPE, OFFSET, EXPONENT = 0.0031308, 12.92, 0.055, 2.4


def srgb_to_linear(encoded: np.ndarray) -> np.ndarray:
    """sRGB values to linear light by the piecewise curve of IEC 61966-2-1; negative values keep their sign."""
    size = np.abs(encoded)
    curve = ((size + OFFSET) / (1.0 + OFFSET)) ** EXPONENT
    return np.copysign(np.where(size <= DIM * SLOPE, size / SLOPE, curve), encoded).astype(np.float32)


def bytes_to_linear(encoded: np.ndarray) -> np.ndarray:
    """What `srgb_to_linear` gives for values k/255, which images of 8 bits have, many times faster."""
    table = srgb_to_linear(np.arange(256, dtype=np.float32) / np.float32(255.0))
    return table[(finite(encoded) * np.float32(255.0) + np.float32(0.5)).astype(np.uint8)]


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB values; the inverse of `srgb_to_linear`."""
    size = np.abs(linear)
    curve = (1.0 + OFFSET) * size ** (1.0 / EXPONENT) - OFFSET
    return np.copysign(np.where(size <= DIM, size * SLOPE, curve), linear).astype(np.float32)


def _matrix(working: str) -> tuple | None:
    return TO_REC709.get(working.removeprefix(ACES))


def to_rec709(light: np.ndarray, working: str) -> np.ndarray:
    """Light of a working space as that of Rec.709, the wire's, ... x 3; grey, and the light of other spaces, as it is."""
    matrix = _matrix(working)
    return light if matrix is None or light.shape[-1] != 3 else light @ np.float32(matrix).T


def from_rec709(light: np.ndarray, working: str) -> np.ndarray:
    """The inverse of `to_rec709`."""
    matrix = _matrix(working)
    return light if matrix is None or light.shape[-1] != 3 else light @ np.linalg.inv(np.float64(matrix)).T.astype(np.float32)


def finite(array: np.ndarray) -> np.ndarray:
    """float32 with NaN and infinities replaced by 0."""
    return np.nan_to_num(np.asarray(array, np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def colour_of(stored: np.ndarray) -> np.ndarray:
    """Of an image's stored values H x W x C those without alpha, H x W x 3 or 1."""
    return stored[..., : 3 if stored.shape[2] >= 3 else 1]


def alpha_of(stored: np.ndarray) -> np.ndarray:
    """The alpha of stored values, H x W x 1; 1 where they have none."""
    return stored[..., 3:] if stored.shape[2] == 4 else np.ones_like(stored[..., :1])


def straight_of(stored: np.ndarray) -> np.ndarray:
    """Without alpha, and what was multiplied with it divided by it, where there is some."""
    alpha = alpha_of(stored)
    return colour_of(stored) / np.where((alpha > 0.0) & (alpha < 1.0), alpha, np.float32(1.0))
