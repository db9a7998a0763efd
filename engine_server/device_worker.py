# SPDX-License-Identifier: GPL-3.0-or-later
"""One device's worker as the server sees it: its state, its job, and what becomes of both when it is silent or dies."""

from __future__ import annotations

import logging
import time
import uuid
from typing import TYPE_CHECKING

from blender_addon.wire import Cancel, Cancelled, Failed, Message, Progress, WireError, encode

from .executor import Handle, NotStarted
from .failures import printable
from .handover import discard
from .memory import system_memory
from .queue import QUEUED, RUNNING, Job
from .worker_link import InFiles, WorkerState, key_pair

if TYPE_CHECKING:
    from .supervisor import Supervisor

log = logging.getLogger(__name__)

NONE, STARTING, IDLE, BUSY = "none", "starting", "idle", "busy"

SPENT = ("out-of-memory", "device-failed")
"""After such an end the process goes: its memory is in pieces, or its connection to the device is broken for good."""
AGAIN = "starting again, because its worker died"
"""The stage of a job that is back in the queue."""


class Worker:
    """One device's worker: no process, or one that starts, waits or works. At most one job at a time.

    When the process dies, its job goes back to the queue as often as the executor allows, then it fails.
    """

    def __init__(self, device: str, supervisor: Supervisor) -> None:
        self.device, self._supervisor, self._settings = device, supervisor, supervisor.settings
        self._executor = supervisor.executor
        self.state = NONE
        self.job: Job | None = None
        self.process: Handle | None = None
        self.memory = (0, 0)
        self.warm: tuple[str, ...] = ()
        self.token, self.public = "", ""
        self._sent = self._in_files = False
        self._heard = self._cancelled_at = 0.0

    def start(self) -> None:
        """Start the process; its first `WorkerState` makes it idle."""
        keys = key_pair()
        self.token, self.public = f"w{uuid.uuid4().hex}", keys.public
        orders = self._supervisor.orders(self.token, keys, self.device)
        try:
            self.process = self._executor.start(orders)
        except NotStarted as error:
            return self._not_started(error)
        self.state, self._heard = STARTING, time.monotonic()
        log.info("worker %d starts for %s", self.process.pid, self.device)

    def _not_started(self, error: NotStarted) -> None:
        log.error("no worker can be started for %s: %s", self.device, error)
        self._forget_process()
        if self.job is not None:
            self.end(Failed(self.job.job_id, "worker-failed-to-start", f"The worker process could not be started ({error})."))

    def assign(self, job: Job) -> None:
        """Give it a job, now or when it has started."""
        self.job, job.state, self._sent = job, RUNNING, False
        job.begun += 1
        if self.state == NONE:
            self.start()
        elif self.state == IDLE:
            self._send_job()

    def take_from(self, other: Worker) -> None:
        """Do the job of another worker whose process is not there yet."""
        self.job, other.job = other.job, None
        self._send_job()

    def _send_job(self) -> None:
        self.state, self._sent, self._heard = BUSY, True, time.monotonic()
        if self._in_files != self.job.near:
            self._in_files = self.job.near
            self._supervisor.send(self.token, encode(InFiles(self._in_files)))
        self._supervisor.send(self.token, self.job.frames)
        if not self._may_run_again():
            self.job.frames = []

    def _may_run_again(self) -> bool:
        return self.job.begun < self._executor.attempts

    def cancel(self) -> None:
        """End its job: at once if the process has not got it yet, else by asking."""
        if not self._sent:
            return self.end(Cancelled(self.job.job_id))
        if not self.job.cancelling:
            self.job.cancelling, self._cancelled_at = True, time.monotonic()
            self._supervisor.send(self.token, encode(Cancel(self.job.job_id)))

    def hear(self, message: Message, frames: list) -> None:
        """Take a message of the process."""
        self._heard = time.monotonic()
        if isinstance(message, WorkerState):
            self.memory, self.warm = (message.memory_free, message.memory_total), message.warm
            if self.state == STARTING:
                self._ready()
        elif self.job is None or message.job_id != self.job.job_id:
            log.warning("worker %d speaks of the job %s, which it does not have", self.process.pid, message.job_id)
            discard(frames)
        elif isinstance(message, Progress):
            self._supervisor.on_news(self.job, message, frames)
        else:
            self.end(message, frames)

    def _ready(self) -> None:
        self.state = IDLE
        if self.job is not None:
            self._send_job()

    def end(self, message: Message, frames: list | None = None) -> None:
        """Its job has ended with this message."""
        job, self.job = self.job, None
        if self.state == BUSY:
            self.state = IDLE
        if isinstance(message, Failed) and message.code in SPENT:
            self.stop()
        self._supervisor.on_news(job, message, frames or encode(message))

    def excuse(self, seconds: float) -> None:
        """For so long it was not its fault that nothing was heard: a laptop slept, or all processes were stopped."""
        self._heard += seconds
        self._cancelled_at += seconds

    def check(self, now: float) -> None:
        """Has the process ended, or been silent for too long?"""
        if self.process is None:
            return
        how = self.process.ended()
        if how is not None:
            self._exited(how)
        elif self.state == STARTING and now - self._heard > self._settings.start_limit:
            self._give_up("worker-failed-to-start", self._executor.late(self._settings.start_limit))
        elif self.state == BUSY and self.job.cancelling and now - self._cancelled_at > self._settings.cancel_grace:
            self._give_up("", "")
        elif self.state == BUSY and now - self._heard > self._settings.hang_limit:
            self._give_up(
                "worker-hung",
                f"The worker gave no sign of life for {self._settings.hang_limit:.0f} s and was ended;"
                " the next job gets a new one.",
            )

    def misunderstood(self, error: WireError) -> None:
        """It sent what is no message here: most likely its files were replaced while this server ran."""
        sentence = f"The engine does not understand its worker ({str(error).rstrip('.')}): if it was updated while it ran, start it anew."
        self._give_up("worker-failed-to-start" if self.state == STARTING else "worker-died", sentence)

    def _exited(self, how: str) -> None:
        log.warning("worker %d ended %s", self.process.pid, how)
        if self.job is not None and not self.job.cancelling and self._may_run_again():
            return self._run_again()
        again = ", and so did the one before it" if self.job is not None and self.job.begun > 1 else ""
        if self.state == STARTING:
            sentence = f"The worker process ended {how} while it started{again}; the engine's log tells why."
            self._give_up("worker-failed-to-start", sentence)
        else:
            sentence = f"The worker process ended {how} in the middle of the job{again}; the next job gets a new one."
            self._give_up("worker-died", sentence)

    def _run_again(self) -> None:
        """Put the job back where it was in the queue, and say so to its client."""
        job, self.job = self.job, None
        self._forget_process()
        log.warning("job %s goes back to the queue and runs again", job.job_id)
        job.state = QUEUED
        news = Progress(job.job_id, 0, 0, AGAIN, None, None)
        self._supervisor.on_news(job, news, encode(news))

    def _give_up(self, code: str, sentence: str) -> None:
        """Be without a process; the job fails, or is cancelled if that was asked for."""
        self.process.kill()
        self._forget_process()
        if self.job is not None:
            job_id = self.job.job_id
            self.end(Cancelled(job_id) if self.job.cancelling else Failed(job_id, code, printable(sentence)))

    def retire(self) -> bool:
        """Its device is gone: end, unless a job is under way on it."""
        if self.state == BUSY:
            return False
        if self.job is not None:
            self.job.begun -= 1
            self.job.state, self.job = QUEUED, None
        self.stop()
        return True

    def stop(self) -> Handle | None:
        """Ask the process to end, which frees all its memory. Returns the process, which may take a moment."""
        process = self.process
        if process is not None:
            process.stop()
            self._forget_process()
        return process

    def _forget_process(self) -> None:
        self.process, self.state, self.token, self.public = None, NONE, "", ""
        self.memory, self.warm, self._in_files = (0, 0), (), False

    def memory_now(self) -> tuple[int, int]:
        """Free and total memory of its device, in bytes; zeros when that is not known."""
        return system_memory() if self.device == "cpu" and not self._executor.remote else self.memory
