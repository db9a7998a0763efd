# SPDX-License-Identifier: GPL-3.0-or-later
"""Where workers run: processes of this computer, or actors of a Ray cluster. All that the supervisor knows of either."""

from __future__ import annotations

from typing import Protocol

from .worker_link import Orders


class NotStarted(OSError):
    """A worker cannot be started; the text says why, as a part of a sentence."""


class Handle(Protocol):
    """One worker that was started. None of its methods waits but `join`."""

    pid: int
    """Its process id on its own computer; 0 while that is not known."""

    def ended(self) -> str | None:
        """How it ended, in words that follow "it ended"; None while it runs, or may come up."""

    def stop(self) -> None:
        """Ask it to end, and see to it that it does."""

    def kill(self) -> None:
        """End it now."""

    def join(self) -> None:
        """Wait until a stopped one has ended."""


class Executor(Protocol):
    """Starts workers, which connect to the supervisor's channel by their orders."""

    attempts: int
    """How often a job is begun whose worker dies."""
    listen: str
    """The address at which workers reach the channel; empty for processes of the same user on this computer."""
    places: tuple[str, ...]
    """The devices that there are now, each for one worker; never none, but perhaps out of reach for a while."""
    remote: bool
    """Are the devices those of other computers, so that only their workers know their memory?"""

    def start(self, orders: Orders) -> Handle:
        """Start a worker; it says by itself when it is ready. Raises `NotStarted`."""

    def late(self, seconds: float) -> str:
        """The sentence for a worker that did not come up within so many seconds."""

    def check(self) -> None:
        """Take what is new; to be called now and then, and when it has called `wake`."""

    def close(self) -> None:
        """End what is left."""
