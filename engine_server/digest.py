# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells one request from another that has the same name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from blender_addon.wire.frames import BEFORE, Envelope
from blender_addon.wire.reference import sum_of


def digest_of(envelope: Envelope, frames: Sequence[Any]) -> bytes:
    """What a job asks for and with which images, wherever they lie; sums will do, as nobody gains by deceiving himself."""
    files = envelope.files
    sums = [files[place].sum if place in files else sum_of(frames[place]) for place in range(BEFORE, len(frames))]
    return hashlib.sha256(json.dumps([envelope.body, sums], sort_keys=True).encode()).digest()
