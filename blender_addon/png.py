# SPDX-License-Identifier: GPL-3.0-or-later
"""PNG files from arrays, in 8 or 16 bits: Blender's own writers convert the colours of what they save.

Only what is needed here: no interlacing, no palette, no filter but "up" (W3C PNG specification, third edition).
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
UP = 2


def encode_png(values: np.ndarray, bits: int = 8) -> bytes:
    """H x W x 1, 3 or 4 values in 0..1, rows from the top, as the bytes of a PNG file of 8 or 16 bits."""
    height, width, components = values.shape
    pixels = levels(values, bits).astype(">u2" if bits == 16 else "u1")
    rows = np.ascontiguousarray(pixels).reshape(height, -1).view(np.uint8)
    header = struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPES[components], 0, 0, 0)
    body = zlib.compress(_filtered(rows), 4)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def levels(values: np.ndarray, bits: int) -> np.ndarray:
    """Values in 0..1 as the whole numbers that so many bits hold; what lies outside is clipped."""
    return np.floor(np.clip(values, 0.0, 1.0) * (2**bits - 1) + 0.5)


def _filtered(rows: np.ndarray) -> bytes:
    """Each row as its difference to the one above, with the filter's number before it; that packs much better."""
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    marks = np.full((len(rows), 1), UP, np.uint8)
    return np.hstack([marks, rows - above]).tobytes()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
