# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an engine listens, in any form that people write it."""

from __future__ import annotations

import re

from .errors import WireError

DEFAULT_PORT = 47470

_FORM = re.compile(
    r"(?:[a-z]+://)?(?:\[(?P<six>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[A-Za-z0-9._*-]+))?(?::(?P<port>\d{1,5}))?/?"
)


def full_address(text: str) -> str:
    """`tcp://host:port` for "host", "host:port", ":port", "[ipv6]:port" or a URL. Raises `WireError` for anything else.

    A missing host is this computer, a missing port is `DEFAULT_PORT`, and "localhost" is 127.0.0.1, because that is
    where an engine listens, whatever the system's first answer for the name.
    """
    match = _FORM.fullmatch(text.strip())
    port = int(match["port"] or DEFAULT_PORT) if match else -1
    if match is None or not 0 <= port <= 65535 or not text.strip():
        raise WireError(f"{text!r} is not an address; expected host:port, for example 192.168.1.20:{DEFAULT_PORT}.")
    host = f"[{match['six']}]" if match["six"] else match["host"] or "127.0.0.1"
    return f"tcp://{'127.0.0.1' if host == 'localhost' else host}:{port}"


def is_ipv6(address: str) -> bool:
    """Does a full address name an IPv6 host?"""
    return "[" in address


def is_loopback(address: str) -> bool:
    """Does a full address (as `full_address` makes it) belong to this computer alone?"""
    host = address.removeprefix("tcp://").rpartition(":")[0]
    return host.startswith("127.") or host == "[::1]"
