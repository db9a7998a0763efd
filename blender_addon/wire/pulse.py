# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the engine there? Pure bookkeeping of questions and answers, without sockets or a clock of its own."""

from __future__ import annotations

INTERVAL = 1.0
"""Seconds between two heartbeats."""


class Pulse:
    """When to ask, and since when there has been no answer. All times are seconds of one monotonic clock.

    Silence counts only from a question that nobody answered, so a client that was itself asleep blames nobody.
    """

    def __init__(self) -> None:
        self._asked_first: float | None = None
        self._asked_last = self._heard_last = -INTERVAL

    def due(self, now: float) -> bool:
        """Is it time for a heartbeat?"""
        return now - max(self._asked_last, self._heard_last) >= INTERVAL

    def asked(self, now: float) -> None:
        """A heartbeat was sent."""
        self._asked_last = now
        if self._asked_first is None:
            self._asked_first = now

    def heard(self, now: float) -> None:
        """Something came from the engine."""
        self._asked_first, self._heard_last = None, now

    def forget(self) -> None:
        """The silence has been reported; the next question starts a new count."""
        self._asked_first = None

    def silence(self, now: float) -> float:
        """Seconds since the first question that has not been answered; 0 when none is open."""
        return 0.0 if self._asked_first is None else now - self._asked_first
