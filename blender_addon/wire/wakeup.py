# SPDX-License-Identifier: GPL-3.0-or-later
"""Wakes a poll loop from another thread, on every operating system."""

from __future__ import annotations

import contextlib
import socket


class Wakeup:
    """A pair of connected sockets: what is written to one makes a poll of the other (`socket`) return."""

    def __init__(self) -> None:
        self.socket, self._writer = socket.socketpair()
        for end in (self.socket, self._writer):
            end.setblocking(False)

    def wake(self) -> None:
        """Make the loop go round once; safe from any thread, and after `close`."""
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: nobody sleeps any more
            self._writer.send(b"\0")

    def drain(self) -> None:
        """Sleep again from now on."""
        with contextlib.suppress(BlockingIOError):
            self.socket.recv(4096)

    def close(self) -> None:
        """Give the sockets back."""
        self.socket.close()
        self._writer.close()
