# SPDX-License-Identifier: GPL-3.0-or-later
"""The client: everything that a program needs to have an engine run jobs. Standard library, NumPy and pyzmq only."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from . import handover
from .address import is_loopback
from .connection import Connection
from .credentials import Credentials
from .errors import EngineSilent, JobCancelled, JobFailed, ProtocolError, VersionMismatch
from .frames import Envelope
from .limits import PROTOCOL
from .messages import (
    ENDS,
    Accepted,
    Acknowledge,
    Alive,
    Cancel,
    Cancelled,
    Catalogue,
    CatalogueEntry,
    Failed,
    Fetch,
    GetCatalogue,
    GetJobs,
    GetStatus,
    Heartbeat,
    Hello,
    JobInfo,
    Jobs,
    Message,
    Progress,
    Refused,
    Result,
    Share,
    Shared,
    Status,
    Submit,
    Unload,
    Welcome,
)

SLOWEST_LINK = 250_000
"""Bytes a second that a transfer is trusted to make before an answer behind it counts as lost."""
CHECK_INTERVAL = 2.0
"""Seconds between two looks at whether the end of a job was lost on the way."""
LOST = "handover-lost"


class Client:
    """A connection to one engine, to be used from one thread, but for `wake`. A context manager; `close` ends it.

    Nothing is sent before the first call, and every call raises `EngineSilent` when the engine leaves `timeout` seconds
    unanswered, `VersionMismatch` when it speaks another protocol, `ProtocolError` when it refuses a message.
    """

    def __init__(self, address: str, credentials: Credentials, *, timeout: float = 5.0, name: str = "python") -> None:
        self._connection = Connection(address, credentials, timeout)
        self._name = name
        self._requests = itertools.count(1)
        self._inbox: deque[Message] = deque()
        self._active: set[str] = set()
        self._instance: str | None = None
        self._checked = time.monotonic()
        self._shares = False
        self._may_share = is_loopback(self._connection.address) and handover.available()

    # ---- questions ---------------------------------------------------------------------------------------------------

    def hello(self) -> Welcome:
        """Greet the engine: its version, device, models and tasks."""
        welcome = self._ask(Hello(PROTOCOL, self._name), Welcome)
        self._share()
        return welcome

    def status(self) -> Status:
        """What the engine does just now."""
        return self._ask(GetStatus(), Status)

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """The models that the engine has or could fetch; a job of the task `get-model` fetches one."""
        return self._ask(GetCatalogue(), Catalogue).models

    def jobs(self) -> tuple[JobInfo, ...]:
        """The jobs of this client's key that the engine holds, running, waiting or ended, oldest first."""
        return self._ask(GetJobs(), Jobs).jobs

    def unload(self) -> Status:
        """End the engine's workers, so that all their memory is free; refused (`ProtocolError`) while a job runs."""
        return self._ask(Unload(), Status)

    # ---- jobs --------------------------------------------------------------------------------------------------------

    def submit(self, job: Submit) -> Accepted:
        """Give the engine a job. Raises `JobFailed` if it does not take it (queue-full, unknown-task, unknown-model)."""
        self._share()
        size = sum(image.data.nbytes for image in job.inputs.values())
        reply = self._ask(job, (Accepted, Failed), patience=size / SLOWEST_LINK)
        if isinstance(reply, Failed) and reply.code == LOST:
            self._part()
            reply = self._ask(job, (Accepted, Failed), patience=size / SLOWEST_LINK)
        if isinstance(reply, Failed):
            raise JobFailed(reply.job_id, reply.code, reply.sentence)
        self._active.add(job.job_id)
        return reply

    def cancel(self, job_id: str) -> None:
        """Ask for the job's end; `poll` brings it as `Cancelled`, unless the job ended otherwise before."""
        self._connection.send(Cancel(job_id))

    def fetch(self, job_id: str) -> None:
        """Ask for a job's state again, also after a new start of this program: `poll` brings its news and its end."""
        self._active.add(job_id)
        self._connection.send(Fetch(job_id))

    def acknowledge(self, job_id: str) -> None:
        """Let the engine forget a job whose end is here; `poll` brings nothing of it any more."""
        self._active.discard(job_id)
        self._inbox = deque(message for message in self._inbox if message.job_id != job_id)
        self._connection.files.recycle(job_id, leave=True)  # this process may die before the engine has heard it
        self._connection.send(Acknowledge(job_id))

    def poll(self, timeout: float) -> Message | None:
        """The next message of any job, or None after `timeout` seconds or `wake`. Every job ends with one of `ENDS`."""
        deadline = time.monotonic() + timeout
        while not self._inbox:
            remaining = deadline - time.monotonic()
            self._sort(self._connection.receive(remaining))
            if remaining <= 0 or self._connection.woken:
                break
        self._connection.woken = False
        return self._inbox.popleft() if self._inbox else None

    def wake(self) -> None:
        """Have a `poll` that waits return, or else the next one; from any thread."""
        self._connection.wake()

    def run(
        self, job: Submit, *, on_progress: Callable[[Progress], None] | None = None, timeout: float = 600.0
    ) -> Result:
        """Submit a job, wait for its end and acknowledge it. Messages of other jobs stay for `poll`.

        Raises `JobFailed` (code timeout after `timeout` seconds), `JobCancelled`, `EngineSilent`. Leaving early, also by
        an exception of `on_progress`, cancels the job.
        """
        deadline = time.monotonic() + timeout
        self.submit(job)
        try:
            end = self._wait(job.job_id, deadline, on_progress)
        except BaseException:
            self.cancel(job.job_id)
            self.acknowledge(job.job_id)
            raise
        self.acknowledge(job.job_id)
        return _result(end)

    def close(self) -> None:
        """End the connection. Jobs go on; their ends are kept until a client with the same key fetches them."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _share(self) -> None:
        """Agree on a folder for large images, once with each engine; where there is none, they go in the messages."""
        if self._shares or not self._may_share:
            return
        self._shares = True
        if folder := self._ask(Share(""), Shared).folder:
            self._connection.files.agree(folder, lambda proof: self._ask(Share(proof), Shared).agreed)

    def _part(self) -> None:
        """Hand nothing over any more, neither way: all images go in the messages."""
        self._connection.files.leave()
        self._connection.send(Share(""), next(self._requests))

    def _wait(self, job_id: str, deadline: float, on_progress: Callable[[Progress], None] | None) -> Message:
        while time.monotonic() < deadline:
            message = self._take(job_id)
            if message is None:
                self._sort(self._connection.receive(deadline - time.monotonic()))
            elif isinstance(message, ENDS):
                return message
            elif isinstance(message, Progress) and on_progress:
                on_progress(message)
        raise JobFailed(job_id, "timeout", f"The job {job_id} did not end within its time limit and was cancelled.")

    def _take(self, job_id: str) -> Message | None:
        """The first waiting message of one job; those of others stay."""
        for message in self._inbox:
            if message.job_id == job_id:
                self._inbox.remove(message)
                return message
        return None

    def _ask(self, question: Message, answers: type | tuple[type, ...], patience: float = 0.0) -> Message:
        """Send a request and wait for its reply. News of jobs that come before it stay for `poll`."""
        number = next(self._requests)
        deadline = time.monotonic() + 10 * self._connection.timeout + patience
        self._connection.send(question, number)
        asked = self._connection.meeting
        while (remaining := deadline - time.monotonic()) > 0:
            reply = self._sort(self._connection.receive(remaining), number)
            if reply is not None:
                return _expected(reply, answers)
            now = self._connection.meeting
            if now[1] > asked[1] or asked[0] not in (None, now[0]):  # the question may have gone with the old connection, or engine
                self._connection.send(question, number)
            asked = now
        raise EngineSilent(f"The engine at {self._connection.address} is alive but left a question unanswered.")

    def _sort(self, envelopes: list[Envelope], number: int = -1) -> Message | None:
        """Put news of jobs into the inbox; returns the reply to request `number`, if it is there."""
        reply = None
        self._fetch_unread()
        for envelope in envelopes:
            message = envelope.message
            if envelope.request == number:
                reply = message
            elif isinstance(message, Alive):
                self._fetch_lost(message)
            elif hasattr(message, "job_id"):
                self._note(message)
            elif isinstance(message, Refused):
                raise _refusal(message)
        self._watch(time.monotonic())
        return reply

    def _note(self, message: Message) -> None:
        """Keep news of a job for `poll`. An end may be sent twice, when it was thought lost; it is told once."""
        if message.job_id not in self._active:
            return
        if isinstance(message, ENDS):
            self._active.discard(message.job_id)
        self._inbox.append(message)

    def _watch(self, now: float) -> None:
        """See to it that every job ends visibly, also when its end was lost or its engine replaced."""
        before, self._instance = self._instance, self._connection.instance
        if before not in (None, self._instance):
            self._connection.files.leave()
            self._shares = False
            self._fetch_all()
        if self._active and now - self._checked >= CHECK_INTERVAL:
            self._checked = now
            self._connection.send(Heartbeat(), next(self._requests))

    def _fetch_unread(self) -> None:
        """Results whose files could not be read are asked for again, in messages."""
        while self._connection.files.lost:
            job_id = self._connection.files.lost.pop()
            self._part()
            self._connection.send(Fetch(job_id))

    def _fetch_all(self) -> None:
        """The engine was started anew: it answers Failed for each job that it does not know."""
        for job_id in self._active:
            self._connection.send(Fetch(job_id))

    def _fetch_lost(self, alive: Alive) -> None:
        """Messages of one connection keep their order: an end that was sent before this one has arrived, or never will."""
        for job_id in self._active.intersection(alive.finished):
            self._connection.send(Fetch(job_id))


def _expected(reply: Message, answers: type | tuple[type, ...]) -> Message:
    if isinstance(reply, Refused):
        raise _refusal(reply)
    if not isinstance(reply, answers):
        raise ProtocolError(f"The engine answered with a {type(reply).__name__}, which does not answer the question.")
    return reply


def _refusal(refused: Refused) -> ProtocolError | VersionMismatch:
    if refused.code == "version-mismatch":
        return VersionMismatch(refused.sentence, ours=PROTOCOL)
    return ProtocolError(refused.sentence, code=refused.code)


def _result(end: Message) -> Result:
    if isinstance(end, Failed):
        raise JobFailed(end.job_id, end.code, end.sentence)
    if isinstance(end, Cancelled):
        raise JobCancelled(end.job_id)
    return end
