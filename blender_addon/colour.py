# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where Blender's stored pixels and scene-linear light are converted. NumPy only."""

from __future__ import annotations

import numpy as np

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


def finite(array: np.ndarray) -> np.ndarray:
    """float32 with NaN and infinities replaced by 0."""
    return np.nan_to_num(np.asarray(array, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
