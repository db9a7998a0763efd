# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that fetch a model: one at a time, each in a process of its own, beside the workers and their devices."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from blender_addon.wire import Cancelled, Failed, Message, Progress, Result, encode

from .failures import printable
from .logs import take_over
from .process import python_path
from .queue import RUNNING, Job

log = logging.getLogger(__name__)

MIB = 1 << 20
DAY = 86_400.0

OnNews = Callable[[Job, Message, list], None]


class Downloads:
    """The place of download jobs, as a worker is of others. `wake` is called from another thread when there is news."""

    def __init__(self, on_news: OnNews, wake: Callable[[], None], offline: bool) -> None:
        self._on_news, self._wake, self._offline = on_news, wake, offline
        self.job: Job | None = None
        self._process: subprocess.Popen | None = None
        self._lines: SimpleQueue[tuple[Job, str | None]] = SimpleQueue()
        self._first: tuple[float, int] | None = None
        self._started = 0.0

    def free(self) -> Downloads | None:
        """Itself, if it has no job."""
        return self if self.job is None else None

    def of(self, job: Job) -> Downloads | None:
        """Itself, if it has this job."""
        return self if self.job is job else None

    def assign(self, job: Job) -> None:
        """Start fetching the job's model."""
        self.job, job.state, job.frames = job, RUNNING, []
        self._first, self._started = None, time.monotonic()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "engine_server.hub.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": python_path()},
            )
            take_over(self._process.stderr, job.job_id)
            self._process.stdin.write(json.dumps({"name": job.model, "offline": self._offline}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            return self._end(Failed(job.job_id, "download-failed", f"No process can be started to fetch it ({error.strerror})."))
        log.info("job %s fetches %s in process %d", job.job_id, job.model, self._process.pid)
        threading.Thread(target=self._listen, args=(job, self._process), name="download", daemon=True).start()

    def _listen(self, job: Job, process: subprocess.Popen) -> None:
        """In a thread: pass the process's lines on, and its end as None."""
        for line in process.stdout:
            self._lines.put((job, line.decode(errors="replace")))
            self._wake()
        process.wait()
        self._lines.put((job, None))
        self._wake()

    def check(self) -> None:
        """Pass on what the process has said; to be called when `wake` was."""
        with contextlib.suppress(Empty):
            while True:
                job, line = self._lines.get_nowait()
                if job is self.job:
                    self._take(job, line)

    def _take(self, job: Job, line: str | None) -> None:
        if line is None:
            sentence = "The process that fetched the model ended in the middle: try again; what was fetched is kept."
            return self._end(Failed(job.job_id, "download-failed", sentence))
        try:
            message = self._understood(job, json.loads(line))
            frames = encode(message)
        except Exception as error:  # whatever a process says, the server lives on
            log.warning("job %s: %r is not what a process that fetches says (%s)", job.job_id, line[:200], error)
            sentence = "The process that fetched the model said what makes no sense: try again; what was fetched is kept."
            return self._end(Failed(job.job_id, "download-failed", sentence))
        if isinstance(message, Progress):
            self._on_news(job, message, frames)
        else:
            self._end(message)

    def _understood(self, job: Job, said: dict[str, Any]) -> Message:
        """What the process has said, as news of its job. Raises anything for what is no such news."""
        if "sentence" in said:
            return Failed(job.job_id, said["code"], printable(said["sentence"]))
        if "fetched" in said:
            seconds = round(time.monotonic() - self._started, 3)
            return Result(job.job_id, {}, {"model": job.model, "bytes": said["fetched"], "seconds": seconds})
        done, total = said["done"], said["total"]
        return Progress(job.job_id, done // MIB, total // MIB, "downloading", self._seconds_left(done, total), None)

    def _seconds_left(self, done: int, total: int) -> float | None:
        """By the pace since the first report; what was there before it took no time. None for more than a day: a download
        that has stalled has no pace."""
        if self._first is None:
            self._first = time.monotonic(), done
        started, first = self._first
        left = (time.monotonic() - started) * (total - done) / (done - first) if done > first else DAY + 1
        return left if 0 <= left <= DAY else None

    def cancel(self) -> None:
        """End the job at once; what was fetched stays on the disk."""
        self._end(Cancelled(self.job.job_id))

    def _end(self, message: Message) -> None:
        job, self.job = self.job, None
        self._stop()
        self._on_news(job, message, encode(message))

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None

    def close(self) -> None:
        """End the process, if there is one."""
        self.job = None
        self._stop()
