# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker process: owns the models of one device and runs one job at a time. The only process that imports torch.

It has one thread for everything, and one that waits for its standard input to close: then the server is gone, or wants
it gone, and it ends at once, whatever it is doing.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import zmq

from blender_addon.wire import (
    Cancel,
    Cancelled,
    ChannelImage,
    Failed,
    HandoverLost,
    Message,
    Progress,
    ProtocolError,
    Result,
    Submit,
    decode,
    encode,
)
from blender_addon.wire.exchange import Exchange

from .device import device_memory, limit_memory
from .diagnostics import echo
from .errors import TaskError
from .failures import explain, printable
from .fitting import within
from .handover import outlive
from .importing import uncollected
from .logs import about, set_up_logging
from .memory import system_memory
from .pace import Pace, PreviewBudget, kind_of
from .worker_link import GOODBYE, TO_WORKER, InFiles, Orders, WorkerState

log = logging.getLogger("engine_server.worker")

PREVIEW_GAMMA = 2.2
PREVIEW_SIDE = 256
"""Pixels of a preview's longer side, at most."""
QUIET_MS = 300
"""A worker that was started for a job has it by then."""


class _Stopped(Exception):
    """The job was cancelled; raised inside a task's step."""


class Worker:
    """The channel to the server, and the tasks."""

    def __init__(self, orders: Orders, on_break: Callable[[], None] | None = None) -> None:
        """`on_break` is called when the channel breaks, in a thread."""
        self._device, self._warm_bytes, self._early = orders.device, orders.warm_bytes, orders.warm
        self._runner = None
        self.previews = PreviewBudget()
        self._files, self._in_files = Exchange(), False
        if orders.folder:
            self._files.agree(orders.folder, lambda proof: True)
        self._context = zmq.Context()
        self._socket = orders.connect(self._context, on_break)

    def serve(self) -> None:
        """Take jobs for ever; the process ends from outside."""
        self._send(self._state())
        if self._early:
            self._prepare()
        while True:
            self._obey()

    def _prepare(self) -> None:
        """Once there is no job at hand, import what the first one needs: it does not wait for that, then."""
        while self._socket.poll(QUIET_MS):
            self._obey()
        with suppress(Exception):  # a job meets the same, and says so
            self._tasks().prepare()

    def _obey(self) -> None:
        """Take one message, and do what it says."""
        try:
            message = self._receive()
        except HandoverLost as error:
            return self._end(Failed(error.job_id, error.code, f"{error} Submit the job again."))
        if isinstance(message, InFiles):
            self._in_files = message.allowed
        elif isinstance(message, Submit):
            self._end(self._do(message))

    def _end(self, message: Message) -> None:
        try:
            self._send(message)
        except ProtocolError as error:  # a result over a limit: nothing of it has left
            sentence = f"The result cannot be sent in one piece: ask for fewer channels, or use a smaller picture. {error}"
            self._send(Failed(message.job_id, error.code, printable(sentence)))
        if self._runner is not None:  # else nothing has changed
            self._send(self._state())

    def _send(self, message: Message) -> None:
        frames = encode(message, lay_down=self._files.lay_down if self._in_files else None)
        self._socket.send_multipart(frames, copy=False)

    def _receive(self) -> Message:
        envelope = decode(self._socket.recv_multipart(copy=False), TO_WORKER, self._files.take)
        if envelope.files:
            self._files.note(envelope)
            self._files.recycle(envelope.message.job_id)
        return envelope.message

    def _state(self) -> WorkerState:
        free, total = device_memory(self._device) if self._runner else system_memory()
        return WorkerState(self._device, free, total, self._runner.warm.names if self._runner else ())

    def _do(self, job: Submit) -> Message:
        """Run the job, and say how it ended. Nothing that a task raises ends the worker."""
        with about(job.job_id):
            log.info("job %s: %s on %s", job.job_id, job.task, self._device)
            return self._ended(job)

    def _ended(self, job: Submit) -> Message:
        try:
            outputs, info = self._run(job, _Steps(self, job).on_step)
            return Result(job.job_id, outputs, info)
        except _Stopped:
            return Cancelled(job.job_id)
        except TaskError as error:
            return Failed(job.job_id, error.code, printable(error.sentence))
        except Exception as error:
            log.exception("job %s failed", job.job_id)
            code, sentence = explain(error, job)
            return Failed(job.job_id, code, printable(sentence))

    def _run(self, job: Submit, on_step: Callable) -> tuple[dict[str, ChannelImage], dict]:
        if job.task == "echo":
            return echo(job, on_step)
        self._send(Progress(job.job_id, 0, 0, "loading", None, None))
        return self._tasks().run(job, on_step)

    def _tasks(self):
        if self._runner is None:
            with uncollected():
                from .runner import TaskRunner  # imports torch, which takes seconds

            self._runner = TaskRunner(self._device, self._warm_bytes)
        return self._runner

    def report(self, progress: Progress) -> None:
        """Send progress, then raise `_Stopped` if the server has asked for the job's end."""
        self._send(progress)
        while self._socket.poll(0):
            message = self._receive()
            if isinstance(message, Cancel) and message.job_id == progress.job_id:
                raise _Stopped


class _Steps:
    """A task's `on_step`: progress with the time left and, now and then, a preview."""

    def __init__(self, worker: Worker, job: Submit) -> None:
        self._worker, self._job, self._pace = worker, job, Pace()
        worker.previews.begin(time.monotonic(), kind_of(job))

    def on_step(self, step: int, total: int, preview: Callable[[], np.ndarray]) -> None:
        """Step `step` of `total` is done; `preview()` is display-encoded, H x W x 3 in 0..1. Raises `_Stopped`."""
        now = time.monotonic()
        left = self._pace.seconds_left(step, total, now)
        image = self._preview(preview) if step < total and self._worker.previews.allows(now, left) else None
        self._worker.report(Progress(self._job.job_id, step, total, "computing", left, image))

    def _preview(self, preview: Callable[[], np.ndarray]) -> ChannelImage:
        began = time.monotonic()
        small = within(np.asarray(preview(), np.float32), PREVIEW_SIDE)
        linear = np.clip(small, 0.0, 1.0) ** PREVIEW_GAMMA
        self._worker.previews.made(began, time.monotonic())
        return ChannelImage(linear.astype(np.float16), "scene-linear")


def _end_with_server(folder: str) -> None:
    """Wait until standard input closes, then end this process without further ado. Who says no goodbye was killed."""
    if not sys.stdin.buffer.read().endswith(GOODBYE) and folder:
        outlive(folder)
    os._exit(0)


def main() -> None:
    """Read the orders, then serve until the server closes our standard input."""
    faulthandler.enable()
    set_up_logging()
    for name in ("SIGINT", "SIGHUP"):  # these reach all processes of a terminal; the server decides what ends
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    orders = Orders.read(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_server, args=(orders.folder,), daemon=True).start()
    try:
        limit_memory(orders.device, orders.memory_limit)
        Worker(orders).serve()
    except Exception:
        log.exception("the worker ends")
    os._exit(1)  # an orderly exit would wait for the thread that reads standard input


if __name__ == "__main__":
    main()
