# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to the engine in a thread of its own, and beside it one that converts pixels; the main thread hands jobs in
and takes small events out. No bpy.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue

from . import swatch
from .events import Connected, Event, JobDone, JobEnded, JobProgress, Listed, Lost, Unloaded
from .launcher import LaunchError
from .storage import LINEAR, exact, prepare
from .wire import (
    Accepted,
    Cancelled,
    ChannelImage,
    Client,
    Credentials,
    Failed,
    JobFailed,
    Message,
    Progress,
    ProtocolError,
    Result,
    Status,
    Submit,
    VersionMismatch,
    Welcome,
    WireError,
)

CANCELLED = "The job was cancelled."
COPIED = ("inpaint",)
"""Tasks whose results become copies of other images, so that their channels have no files of their own."""
STATUS_SECONDS = 3.0


class Session:
    """Lives until `close`, or until the engine is lost; then every job that it carried has ended with a sentence.
    `status` is the engine's latest, a few seconds old; in the `working` space Blender multiplies colours.

    `address` may be a function that gives it, and may take its time, such as one that waits for an engine to start.
    """

    def __init__(self, address: str | Callable[[], str], credentials: Credentials, *, timeout: float = 5.0) -> None:
        self.alive = True
        self.status: Status | None = None
        self.working = LINEAR
        self._orders: SimpleQueue = SimpleQueue()
        self._client: Client | None = None
        self._events: deque[Event] = deque()
        self._active: set[str] = set()
        self._preparing: set[str] = set()
        self._copied: set[str] = set()
        self._handing_over = threading.Lock()
        self._pixels: SimpleQueue = SimpleQueue()
        self._stop = threading.Event()
        arguments = (address, credentials, timeout)
        self._thread = threading.Thread(target=self._run, args=arguments, name="teamwork-session", daemon=True)
        self._thread.start()
        threading.Thread(target=self._compute, name="teamwork-pixels", daemon=True).start()

    def submit(self, job: Submit) -> None:
        """Hand a job over; events tell what becomes of it."""
        self._preparing.add(job.job_id)
        self._copied |= {job.job_id} if job.task in COPIED else set()
        self._pixels.put((self._prepare, job))

    def cancel(self, job_id: str) -> None:
        """Ask for a job's end."""
        with self._handing_over:
            early = self._take_back(job_id)
        if early:
            self._end(job_id, "cancelled", CANCELLED)
        else:
            self._order("cancel", job_id)

    def fetch(self, job_id: str) -> None:
        """Follow a job that was submitted earlier, perhaps by another Blender; its end comes as that of any other."""
        self._order("fetch", job_id)

    def acknowledge(self, job_id: str) -> None:
        """Let the engine forget a result that is safe here."""
        self._order("acknowledge", job_id)

    def unload(self) -> None:
        """Have the engine free all memory of its models; `Unloaded` tells how that went."""
        self._order("unload", None)

    def drain(self, most_seconds: float = 0.004) -> list[Event]:
        """The events that wait, oldest first, but no more than can be taken in that time."""
        deadline = time.monotonic() + most_seconds
        events: list[Event] = []
        while self._events and time.monotonic() < deadline:
            events.append(self._events.popleft())
        return events

    def close(self, most_seconds: float = 2.0) -> None:
        """End the connection; jobs go on in the engine, which keeps their results."""
        self._stop.set()
        self._wake()
        self._thread.join(most_seconds)

    def _order(self, order: str, subject: Submit | str | None) -> None:
        self._orders.put((order, subject))
        self._wake()

    def _wake(self) -> None:
        """The thread sleeps until there is something to do: each of its turns keeps Blender's own Python waiting."""
        if client := self._client:
            client.wake()

    # ---- in the thread of pixels, since the engine has to hear from us meanwhile ------------------------------------

    def _compute(self) -> None:
        """One thing after the other, until the session is over."""
        for work, subject in iter(self._pixels.get, None):
            work(subject)
        self.alive = False

    def _prepare(self, job: Submit) -> None:
        """Have the pixels become light, then hand the job over, unless it was cancelled meanwhile."""
        try:
            for image in job.inputs.values():
                _ = image.data
        except Exception as error:  # out of memory, say: one job fails, not the session
            sentence = f"The picture could not be prepared ({type(error).__name__}: {error})."
            if self._take_back(job.job_id):
                self._end(job.job_id, "internal", sentence)
            return
        with self._handing_over:
            if self._take_back(job.job_id):
                self._order("submit", job)

    def _take_back(self, job_id: str) -> bool:
        """Was the job still on its way? It is not any more."""
        waits = job_id in self._preparing
        self._preparing.discard(job_id)
        return waits

    def _deliver(self, result: Result) -> None:
        """Make the files of a result's channels, so that the main thread has nothing to compute when it lands."""
        with suppress(Exception):  # out of memory, say: the parts as they came are a result, too
            result = replace(result, outputs=exact(result.outputs, self.working))
        own = {} if result.job_id in self._copied else result.outputs
        self._copied.discard(result.job_id)
        threads = [threading.Thread(target=_prepared, args=each, daemon=True) for each in own.items()]
        for thread in threads:
            thread.start()
        with suppress(Exception):  # then landing meets the same, and says so
            swatch.prepare({name: output.data for name, output in result.outputs.items()})
        for thread in threads:
            thread.join()
        self._events.append(JobDone(result))

    # ---- in the thread -----------------------------------------------------------------------------------------------

    def _run(self, address: str | Callable[[], str], credentials: Credentials, timeout: float) -> None:
        try:
            place = address() if callable(address) else address
            with Client(place, credentials, timeout=timeout, name="blender") as client:
                self._client = client
                welcome = self._meet(client)
                self._events.append(Listed(client.jobs()))
                asked = float("-inf")
                while not self._stop.is_set():
                    self._obey(client)
                    self._note(client.poll(STATUS_SECONDS))
                    if time.monotonic() - asked > STATUS_SECONDS:
                        self.status, asked = client.status(), time.monotonic()
                        if self.status.instance != welcome.instance:  # started anew, perhaps with other models
                            welcome = self._meet(client)
                self._obey(client)  # acknowledgements that were given just before the end
        except (WireError, LaunchError) as error:
            self._give_up(str(error), isinstance(error, VersionMismatch))
        except Exception as error:  # a thread that dies silently would leave jobs waiting for ever
            self._give_up(f"The connection to the engine failed ({type(error).__name__}: {error}).")
        finally:
            self._pixels.put(None)  # results that are here already still come out

    def _meet(self, client: Client) -> Welcome:
        self._events.append(Connected(welcome := client.hello()))
        return welcome

    def _obey(self, client: Client) -> None:
        while True:
            try:
                order, subject = self._orders.get_nowait()
            except Empty:
                return
            if order == "submit":
                self._submit(client, subject)
            elif order == "unload":
                self._unload(client)
            elif order == "fetch":
                self._active.add(subject)
                client.fetch(subject)
            else:
                getattr(client, order)(subject)

    def _submit(self, client: Client, job: Submit) -> None:
        self._active.add(job.job_id)
        try:
            client.submit(job)
        except (JobFailed, ProtocolError) as error:
            self._end(job.job_id, error.code, str(error))

    def _unload(self, client: Client) -> None:
        try:
            self.status = client.unload()
        except ProtocolError as error:
            self._events.append(Unloaded(False, str(error)))
        else:
            self._events.append(Unloaded(True, "The engine has freed the memory of its models."))

    def _note(self, message: Message | None) -> None:
        if isinstance(message, Progress):
            self._events.append(JobProgress(message))
        elif isinstance(message, Result):
            self._active.discard(message.job_id)
            self._pixels.put((self._deliver, message))
        elif isinstance(message, Failed):
            self._end(message.job_id, message.code, message.sentence)
        elif isinstance(message, Cancelled):
            self._end(message.job_id, "cancelled", CANCELLED)
        elif message is not None and not isinstance(message, Accepted):
            raise WireError(f"The engine sent an unexpected {type(message).__name__}.")

    def _end(self, job_id: str, code: str, sentence: str) -> None:
        self._active.discard(job_id)
        self._events.append(JobEnded(job_id, code, sentence))

    def _give_up(self, sentence: str, mismatch: bool = False) -> None:
        waiting = [subject.job_id for order, subject in self._remaining() if order == "submit"]
        for job_id in [*sorted(self._active), *waiting]:
            self._end(job_id, "lost", sentence)
        self._events.append(Lost(sentence, mismatch))

    def _remaining(self) -> list[tuple]:
        orders = []
        while not self._orders.empty():
            orders.append(self._orders.get_nowait())
        return orders


def _prepared(channel: str, image: ChannelImage) -> None:
    with suppress(Exception):  # then landing meets the same, and says so
        prepare(channel, image)
