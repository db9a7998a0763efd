# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenEXR files from arrays, since Blender packs float images on its main thread only, which takes a second at 4K.

Only what is needed here: one part, scan lines, 32 bit floats, no compression ("OpenEXR File Layout").
"""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np

from .colour import finite

MAGIC, VERSION = 20000630, 2
FLOAT, NO_COMPRESSION, INCREASING_Y = 2, 0, 0
NAMES = {1: "BGR", 3: "BGR", 4: "ABGR"}
"""The channels by the number of components, as they have to be: in the order of the alphabet."""
LINES = 64
"""Lines that are written at a time: another thread that wants Python waits no longer than they take."""


def encode_exr(values: np.ndarray) -> bytes:
    """H x W x 1 (then grey), 3 or 4 float32 values, rows from the top, as the bytes of an OpenEXR file with R, G, B and, of
    four, A. NaN and infinities become 0."""
    height, width, components = values.shape
    names = NAMES[components]
    line = np.dtype([("y", "<i4"), ("size", "<i4"), ("pixels", "<f4", (len(names), width))])
    file = BytesIO()
    file.write(_header(width, height, names))
    first = file.tell() + 8 * height
    file.write((first + np.arange(height, dtype="<u8") * line.itemsize).tobytes())
    for top in range(0, height, LINES):
        part = finite(values[top : top + LINES, :, ::-1])
        lines = np.empty(len(part), line)
        lines["y"], lines["size"] = np.arange(top, top + len(part)), line["pixels"].itemsize
        lines["pixels"] = part.transpose(0, 2, 1)
        file.write(lines.data)
    return file.getvalue()


def _header(width: int, height: int, names: str) -> bytes:
    channels = b"".join(name.encode() + struct.pack("<xiB3xii", FLOAT, 0, 1, 1) for name in names)
    window = struct.pack("<iiii", 0, 0, width - 1, height - 1)
    attributes = (
        ("channels", "chlist", channels + b"\0"),
        ("compression", "compression", bytes([NO_COMPRESSION])),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", bytes([INCREASING_Y])),
        ("pixelAspectRatio", "float", struct.pack("<f", 1.0)),
        ("screenWindowCenter", "v2f", struct.pack("<ff", 0.0, 0.0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1.0)),
    )
    packed = (f"{name}\0{kind}\0".encode() + struct.pack("<i", len(value)) + value for name, kind, value in attributes)
    return struct.pack("<ii", MAGIC, VERSION) + b"".join(packed) + b"\0"
