# SPDX-License-Identifier: GPL-3.0-or-later
"""PNG files from arrays, in 8 or 16 bits: Blender's own writers convert the colours of what they save.

Only what is needed here: no interlacing, no palette, no filter but "up" (W3C PNG specification, third edition).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
UP = 2
LEVEL = 1
"""Of zlib: noise packs little better at any other, and several times more slowly."""
LINES = 64
"""Lines that are converted and packed at a time: they stay in the processor's cache, and no other thread that wants
Python waits for long."""

Convert = Callable[[np.ndarray], np.ndarray]


def encode_png(values: np.ndarray, bits: int = 8, shown: Convert | None = None) -> bytes:
    """H x W x 1, 3 or 4 values, rows from the top, as the bytes of a PNG file of 8 or 16 bits. `shown` turns some lines
    of them into what the file holds, 0..1, clipped there; without it they are that already."""
    height, width, components = values.shape
    header = struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPES[components], 0, 0, 0)
    file, packer = BytesIO(), zlib.compressobj(LEVEL)
    file.write(SIGNATURE + _chunk(b"IHDR", header))
    above = np.zeros(width * components * bits // 8, np.uint8)
    for top in range(0, height, LINES):
        lines = values[top : top + LINES]
        rows = _rows(shown(lines) if shown else lines, bits)
        file.write(_data_chunk(packer.compress(_filtered(rows, above))))
        above = rows[-1]
    file.write(_data_chunk(packer.flush()) + _chunk(b"IEND", b""))
    return file.getvalue()


def levels(values: np.ndarray, bits: int) -> np.ndarray:
    """Values in 0..1 as the whole numbers that so many bits hold; what lies outside is clipped."""
    return np.floor(np.clip(values, 0.0, 1.0) * np.float32(2**bits - 1) + np.float32(0.5))


def _rows(values: np.ndarray, bits: int) -> np.ndarray:
    """The bytes of some lines, one row for each."""
    pixels = levels(values, bits).astype(">u2" if bits == 16 else "u1")
    return np.ascontiguousarray(pixels).reshape(len(values), -1).view(np.uint8)


def _filtered(rows: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Each row as its difference to the one above, with the filter's number before it; that packs much better."""
    lines = np.full((len(rows), rows.shape[1] + 1), UP, np.uint8)
    lines[0, 1:] = rows[0] - above
    lines[1:, 1:] = rows[1:] - rows[:-1]
    return lines


def _data_chunk(packed: bytes) -> bytes:
    return _chunk(b"IDAT", packed) if packed else b""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
