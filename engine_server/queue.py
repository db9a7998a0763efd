# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs that the server holds, from their arrival to the client's acknowledgement. Pure bookkeeping, no sockets."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
FINISHED = (DONE, FAILED, CANCELLED)

REMEMBERED = 20
"""Jobs whose times tell how long the next ones may take."""

_numbers = itertools.count(1)


@dataclass(eq=False)
class Job:
    """One job. `owner` is the client's public key, `route` the connection that gets its news, `frames` its submission.

    `digest` tells one request from another with the same name. `news` is the last progress, as frames. `abandoned` means
    that nobody will fetch its end. `files` are the names of those that its images lie in, `near` means that its client can read
    such files. `started` is when a worker got it, by the monotonic clock, `begun` how often one did.
    """

    owner: str
    job_id: str
    task: str
    route: bytes
    frames: list
    size: int
    digest: bytes
    model: str = ""
    state: str = QUEUED
    cancelling: bool = False
    abandoned: bool = False
    started: float = 0.0
    begun: int = 0
    files: tuple[str, ...] = ()
    near: bool = False
    news: list = field(default_factory=list)
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def finished(self) -> bool:
        """Has the job ended, one way or another?"""
        return self.state in FINISHED


class QueueFull(Exception):
    """The queue takes no further job; the text is a sentence."""


class Queue:
    """All jobs by owner and name; those that wait are bounded in number (`limit`) and in bytes of input (`most_bytes`).

    Owners take turns, however many jobs one of them has sent; and one who has none waiting finds a place also when the
    others have taken all: there are as many places again for first jobs.
    """

    def __init__(self, limit: int, most_bytes: int) -> None:
        self.limit, self.most_bytes = limit, most_bytes
        self._jobs: dict[tuple[str, str], Job] = {}
        self._served: dict[str, int] = {}
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def find(self, owner: str, job_id: str) -> Job | None:
        """The owner's job of that name."""
        return self._jobs.get((owner, job_id))

    def of(self, owner: str) -> list[Job]:
        """All jobs of an owner, oldest first."""
        return [job for job in self if job.owner == owner]

    def waiting(self) -> list[Job]:
        """The jobs that no worker has yet, in the order in which they will be served: each owner's oldest, then their next."""
        counts: dict[str, itertools.count] = {}
        turns = {
            job: (next(counts.setdefault(job.owner, itertools.count())), self._served.get(job.owner, 0), job.number)
            for job in self
            if job.state == QUEUED
        }
        return sorted(turns, key=turns.__getitem__)

    def add(self, job: Job) -> None:
        """Put a job at the end. Raises `QueueFull`."""
        waiting = self.waiting()
        places = self.limit if any(other.owner == job.owner for other in waiting) else 2 * self.limit
        if len(waiting) >= places:
            raise QueueFull(f"The engine's queue is full: {len(waiting)} jobs wait{self._wait(len(waiting))}. Try again then.")
        held = sum(other.size for other in waiting)
        if held + job.size > self.most_bytes:
            raise QueueFull(
                f"The engine's queue is full: {len(waiting)} jobs wait{self._wait(len(waiting))} with {held >> 20} MiB of"
                f" images, and {self.most_bytes >> 20} MiB is the most. Try again when one has ended."
            )
        self._jobs[job.owner, job.job_id] = job

    def _wait(self, jobs: int) -> str:
        """How long so many jobs may take, if earlier ones tell."""
        if not self._seconds:
            return ""
        return f", which may take {max(1, round(jobs * sum(self._seconds) / len(self._seconds)))} s"

    def serve(self, job: Job) -> None:
        """A worker gets the job: others have their turn before its owner's next."""
        self._served[job.owner] = next(_numbers)

    def took(self, seconds: float) -> None:
        """A job has run for so long."""
        self._seconds.append(seconds)

    def position(self, job: Job) -> int:
        """How many waiting jobs are before this one."""
        return self.waiting().index(job) if job.state == QUEUED else 0

    def remove(self, job: Job) -> None:
        """Forget a job."""
        self._jobs.pop((job.owner, job.job_id), None)
