# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a job still takes, and how much of its time previews may take. Times are seconds of one clock."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

from blender_addon.wire import Submit

PREVIEW_INTERVAL = 0.5
PREVIEW_SHARE = 0.02
"""Of a job's time, for previews."""
KINDS_KEPT = 64

Made = TypeVar("Made")


class Pace:
    """How long the rest of a job takes, from its steps so far. The time before the first step is loading, and left out."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def seconds_left(self, step: int, total: int, now: float) -> float | None:
        """Seconds until step `total`, where step `step` has ended at `now`; None after the very first step."""
        if self._first is None:
            self._first = now, step
        started, first = self._first
        return (now - started) / (step - first) * (total - step) if step > first else None


class Labour:
    """How long a job's network has computed, in `seconds`: all of a job's time that is not the engine's own."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def of(self, work: Callable[[Callable], Made], on_step: Callable) -> Made:
        """Do the work, which gets what it has to call after each step. What it tells there, and previews, count not."""
        began = time.monotonic()
        try:
            return work(lambda *told: self._pause(on_step, *told))
        finally:
            self.seconds += time.monotonic() - began

    def _pause(self, on_step: Callable, *told) -> None:
        began = time.monotonic()
        try:
            on_step(*told)
        finally:
            self.seconds -= time.monotonic() - began


class PreviewBudget:
    """When the next preview may be made, so that all of them take `PREVIEW_SHARE` of a job's time, its loading included.

    What one costs is known from earlier ones of jobs of the same kind, and is the least that any took: those that came
    first in a process, or while the machine was busy, would keep later jobs without any. The first of a kind is made at once.
    """

    def __init__(self) -> None:
        self._costs: OrderedDict[Hashable, float] = OrderedDict()
        self._kind: Hashable = None
        self._started = self._last = self._spent = 0.0

    def begin(self, now: float, kind: Hashable) -> None:
        """A job of this kind begins."""
        self._kind, self._started, self._last, self._spent = kind, now, now - PREVIEW_INTERVAL, 0.0

    def allows(self, now: float, left: float | None) -> bool:
        """Is it time for one, with so many seconds left of the job? One that would be gone at once is never made."""
        affordable = self._spent + self._costs.get(self._kind, 0.0) <= PREVIEW_SHARE * (now - self._started)
        return affordable and now - self._last >= PREVIEW_INTERVAL and (left is None or left > PREVIEW_INTERVAL)

    def made(self, began: float, ended: float) -> None:
        """One was made in this time."""
        cost = ended - began
        self._costs[self._kind] = min(cost, self._costs.get(self._kind, cost))
        self._costs.move_to_end(self._kind)
        if len(self._costs) > KINDS_KEPT:
            self._costs.popitem(last=False)
        self._spent, self._last = self._spent + cost, began


def kind_of(job: Submit) -> Hashable:
    """What previews of a job cost alike: its model, its task and how large its pictures are."""
    sizes = {image.data.shape[:2] for image in job.inputs.values()}
    return job.model, job.task, frozenset(sizes), *(job.options.get(name, 0) for name in ("size", "width", "height"))
