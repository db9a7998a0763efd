# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells one request from another that has the same name."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

CHECKED_BYTES = 1 << 16


def digest_of(body: dict[str, Any], buffers: Sequence[Any]) -> bytes:
    """What a job asks for and with which images; sums will do for those, as nobody gains by deceiving himself."""
    return hashlib.sha256(json.dumps([body, [_sum(buffer) for buffer in buffers]], sort_keys=True).encode()).digest()


def _sum(buffer: Any) -> tuple[int, int]:
    """A sum of all words and a checksum of the first: ten times faster than a checksum of all, while the server waits."""
    data = memoryview(buffer)
    words = np.frombuffer(data, np.uint64, data.nbytes // 8)
    return int(words.sum(dtype=np.uint64)), zlib.crc32(data[:CHECKED_BYTES])
