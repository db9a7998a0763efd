# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the add-on holds Blender's main thread: every call of its timer and its operators, less the pixels' own way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from types import ModuleType

TRANSFERS = ("_download", "_pack")
"""The functions of `images` that do nothing but let Blender copy, unpack or pack pixels."""


@dataclass(frozen=True)
class Held:
    """One call on the main thread: seconds on the clock and on the processor besides pixels, and on the clock for pixels;
    and when it began, by `time.perf_counter`.

    On a busy machine the clock also counts what other programs take.
    """

    name: str
    clock: float
    processor: float
    pixels: float
    begun: float


def worst(calls: Sequence[Held]) -> Held:
    """The longest of each kind among some calls, which need not be the same call's."""
    longest = (max(getattr(call, what) for call in calls) for what in ("clock", "processor", "pixels"))
    return Held(calls[0].name, *longest, calls[0].begun)


@dataclass
class Holds:
    """Every call, and the seconds that the transfers of pixels took so far on both clocks."""

    calls: list[Held] = field(default_factory=list)
    transfer: tuple[float, float] = (0.0, 0.0)
    arrived: float = 0.0
    """When the engine's last result reached the session's thread, by `time.perf_counter`."""

    def of(self, name: str) -> list[Held]:
        """The calls of this name, in their order."""
        return [call for call in self.calls if call.name == name]

    def timed(self, name: str, function: Callable) -> Callable:
        """The function, each of its calls noted."""

        @wraps(function)
        def noted(*args, **settings):
            pixels, started = self.transfer, _clocks()
            try:
                return function(*args, **settings)
            finally:
                whole, moved = _less(_clocks(), started), _less(self.transfer, pixels)
                self.calls.append(Held(name, *_less(whole, moved), moved[0], started[0]))

        return noted

    def transferring(self, function: Callable) -> Callable:
        """The function, its time counted as the pixels' own."""

        @wraps(function)
        def counted(*args, **settings):
            started = _clocks()
            try:
                return function(*args, **settings)
            finally:
                took = _less(_clocks(), started)
                self.transfer = self.transfer[0] + took[0], self.transfer[1] + took[1]

        return counted

    def noticing(self, note: Callable) -> Callable:
        """The session's function that takes a message, the arrival of results noted."""

        @wraps(note)
        def noticed(session, message) -> None:
            if type(message).__name__ == "Result":
                self.arrived = time.perf_counter()
            note(session, message)

        return noticed


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


def _less(late: tuple[float, float], early: tuple[float, float]) -> tuple[float, float]:
    return late[0] - early[0], late[1] - early[1]


@contextmanager
def watched(jobs: ModuleType, images: ModuleType, session: ModuleType) -> Iterator[Holds]:
    """These modules of the add-on with their work on the main thread timed; as before afterwards."""
    holds = Holds()
    replaced = {(images, name): holds.transferring(getattr(images, name)) for name in TRANSFERS}
    replaced[jobs, "drain"] = holds.timed("drain", jobs.drain)
    replaced[session.Session, "_note"] = holds.noticing(session.Session._note)
    kept = {(owner, name): getattr(owner, name) for owner, name in replaced}
    try:
        for (owner, name), function in replaced.items():
            setattr(owner, name, function)
        yield holds
    finally:
        for (owner, name), function in kept.items():
            setattr(owner, name, function)
