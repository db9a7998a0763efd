# SPDX-License-Identifier: GPL-3.0-or-later
"""Many jobs, as of a folder of photos or the frames of an animation: several at once, their ends in order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from .client import Client
from .errors import JobFailed, WireError
from .messages import ENDS, Cancelled, Failed, Message, Progress, Result, Submit

POLL_SECONDS = 0.5

End = Result | Failed | Cancelled
"""How a job ended."""


def run_in_order(
    client: Client, jobs: Iterable[Submit], *, in_flight: int = 8, on_progress: Callable[[Progress], None] | None = None
) -> Iterator[End]:
    """Run the jobs, at most `in_flight` of them held by the engine at a time, and give each one's end in the order of `jobs`.

    A job is only taken from `jobs` when there is room for it, so that they may be made on the way. An engine whose queue is
    full gets the rest later; what it refuses otherwise is a `Failed`, and the others go on. Raises `EngineSilent`.

    The engine keeps an end until the next one is asked for. Leaving early cancels what is not done, and lets it keep what is.
    """
    run = _Run(client, iter(jobs), in_flight, on_progress)
    try:
        yield from run.ends()
    finally:
        with contextlib.suppress(WireError):
            run.leave()


class _Run:
    """`waiting` has the jobs under way in their order, `done` the ends of those that have ended."""

    def __init__(self, client: Client, jobs: Iterator[Submit], in_flight: int, on_progress) -> None:
        self._client, self._jobs, self._in_flight, self._on_progress = client, jobs, in_flight, on_progress
        self._waiting: deque[str] = deque()
        self._done: dict[str, End] = {}
        self._unsent: Submit | None = None

    def ends(self) -> Iterator[End]:
        """The ends, as they become due."""
        while True:
            self._fill()
            if not self._waiting and self._unsent is None:
                return
            if self._waiting and self._waiting[0] in self._done:
                name = self._waiting[0]
                yield self._done[name]
                self._forget(name)
            else:
                self._note(self._client.poll(POLL_SECONDS))

    def _fill(self) -> None:
        """Submit as many as there is room for."""
        while len(self._waiting) < self._in_flight:
            job = self._unsent or next(self._jobs, None)
            if job is None:
                return
            self._unsent = None
            self._waiting.append(job.job_id)  # before it is sent, so that it is cancelled when that is interrupted
            try:
                self._client.submit(job)
            except JobFailed as error:
                if error.code == "queue-full":
                    self._unsent = job
                    self._waiting.pop()
                    return
                self._done[job.job_id] = Failed(job.job_id, error.code, error.sentence)

    def _note(self, message: Message | None) -> None:
        if isinstance(message, ENDS) and message.job_id in self._waiting:
            self._done[message.job_id] = message
        elif isinstance(message, Progress) and self._on_progress:
            self._on_progress(message)

    def _forget(self, name: str) -> None:
        self._waiting.popleft()
        del self._done[name]
        self._client.acknowledge(name)

    def leave(self) -> None:
        """Have the engine end and forget what is under way."""
        for name in self._waiting:
            if name not in self._done:
                self._client.cancel(name)
                self._client.acknowledge(name)
