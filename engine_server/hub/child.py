# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that fetches one model for the server, which neither waits for a network nor loads the hub's library.

It reads one line of JSON (name, offline) from its standard input and writes lines of JSON: {"done", "total"} in bytes now
and then, and at last {"fetched"} or {"code", "sentence"}. When its input closes it ends at once; what it has stays.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from .errors import HubError, offline
from .fetch import fetch
from .offers import offers, with_base

INTERVAL = 0.5


class _Report:
    """Writes progress as lines, twice a second at most."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """So many bytes are here."""
        now = time.monotonic()
        if now - self._last >= INTERVAL or done == total:
            self._last = now
            _say(done=done, total=total)


def _say(**entries: object) -> None:
    sys.stdout.write(json.dumps(entries) + "\n")
    sys.stdout.flush()


def _fetch(name: str, offline_only: bool) -> None:
    try:
        wanted = with_base(offers()[name])
        if offline_only:
            raise offline(wanted[-1], "the engine was started with --offline")
        made = fetch(wanted, None, _Report())
        _say(fetched=sum(model.size_bytes for model in made))
    except HubError as error:
        _say(code=error.code, sentence=str(error))


def _end_with_server() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Read the orders, fetch, say how it ended."""
    orders = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_server, daemon=True).start()
    _fetch(orders["name"], orders["offline"])
    os._exit(0)  # an orderly exit would wait for the thread that reads standard input


if __name__ == "__main__":
    main()
