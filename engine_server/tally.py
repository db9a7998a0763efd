# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of the jobs since the engine's start: how many ended in which way, and the last failures in words."""

from __future__ import annotations

import time
from collections import Counter, deque

from blender_addon.wire import Cancelled, Failed, Failure, Message, Result

REMEMBERED = 8
_KINDS = {Result: "done", Failed: "failed", Cancelled: "cancelled"}


class Tally:
    """Counts the ends of jobs, and failures also by their code."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter(dict.fromkeys(_KINDS.values(), 0))
        self.codes: Counter[str] = Counter()
        self.seconds = 0.0
        self._failures: deque[tuple[float, Failed]] = deque(maxlen=REMEMBERED)

    def add(self, end: Message, seconds: float) -> None:
        """A job has ended, `seconds` after a worker got it."""
        self.ends[_KINDS[type(end)]] += 1
        self.seconds += seconds
        if isinstance(end, Failed):
            self.codes[end.code] += 1
            self._failures.appendleft((time.monotonic(), end))

    def failures(self) -> tuple[Failure, ...]:
        """The last failures, newest first."""
        now = time.monotonic()
        return tuple(Failure(end.job_id, end.code, end.sentence, now - when) for when, end in self._failures)
