# SPDX-License-Identifier: GPL-3.0-or-later
"""Wakes a poll loop from signals, as well as from other threads."""

from __future__ import annotations

import signal
from collections.abc import Callable

from blender_addon.wire.wakeup import Wakeup


class SignalWakeup(Wakeup):
    """A signal that asks the program to end wakes the loop, too."""

    def on_signals(self, action: Callable[[], None]) -> None:
        """Call `action` on the signals that ask a program to end, and wake the loop. Only from the main thread."""
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for name in ("SIGTERM", "SIGINT", "SIGBREAK", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and not (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):  # as under nohup
                signal.signal(number, lambda *_: action())
