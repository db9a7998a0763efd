# SPDX-License-Identifier: GPL-3.0-or-later
"""The protocol's version and its limits. Both ends check them before they set memory aside."""

from __future__ import annotations

PROTOCOL = 2
"""Version of the protocol. Any change that an older end would not understand raises it by one."""

MAGIC = b"TEAMWORK"
"""The first frame of every message, in every version of the protocol."""

MAX_HEADER_BYTES = 262_144
MAX_ARRAYS = 32
MAX_BUFFER_BYTES = 1_073_741_824
MAX_MESSAGE_BYTES = 4_294_967_296
MIN_FILE_BYTES = 65_536
MAX_SIDE = 16_384
MAX_PIXELS = 67_108_864
MAX_COMPONENTS = 4
MAX_ITEMS = 256
MAX_NAME = 64
MAX_TEXT = 4_096
MAX_COUNT = 9_007_199_254_740_992
