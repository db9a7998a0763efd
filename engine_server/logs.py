# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's log: one line an event, with time, process and job, on standard error, and in a file that is rotated if
one is wanted. Keys and images never go into it.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import BinaryIO

TALKATIVE = ("torchao", "bitsandbytes", "torch.utils._pytree", "diffusers.quantizers")
"""Packages that say while they are imported which of their parts this machine has no use for."""
FORM = "%(asctime)s %(process)d %(levelname)s%(job)s %(message)s"
FILE_BYTES, OLDER_FILES = 10_000_000, 5
WORKERS = "engine_server.workers"
"""The logger of lines that workers wrote, which have their own time and process in them."""

_job: ContextVar[str] = ContextVar("job", default="")


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if record.name == WORKERS else super().format(record)


def _with_job(record: logging.LogRecord) -> bool:
    record.job = f" [{_job.get()}]" if _job.get() else ""
    return True


@contextmanager
def about(job_id: str) -> Iterator[None]:
    """Within this block every line of this thread names the job."""
    token = _job.set(job_id)
    try:
        yield
    finally:
        _job.reset(token)


def quiet_packages() -> None:
    """Let imported packages speak of errors only."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)


def set_up_logging(level: str = "INFO", file: Path | None = None) -> None:
    """Send this process's log to standard error, or to a file of at most 10 MB, of which five older ones are kept.

    Raises `OSError` for a file that cannot be written.
    """
    handler = _file_handler(file) if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(FORM))
    handler.addFilter(_with_job)
    logging.basicConfig(handlers=[handler], level=level)
    quiet_packages()


def _file_handler(file: Path) -> RotatingFileHandler:
    file.parent.mkdir(parents=True, exist_ok=True)
    return RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8")


def take_over(stream: BinaryIO, job_id: str | None = None) -> threading.Thread:
    """Put the lines that another process writes into this one's log, from a thread, until the stream ends.

    Workers' lines have time, process, level and job in them, and stay as they are. Those of a process that knows nothing of that
    are given them: they are warnings of ours about `job_id`.
    """
    relay = threading.Thread(target=_relay, args=(stream, job_id), name="log", daemon=True)
    relay.start()
    return relay


def _relay(stream: BinaryIO, job_id: str | None) -> None:
    log, level = logging.getLogger(WORKERS), logging.CRITICAL  # the worker has judged its lines' levels
    if job_id is not None:
        log, level = logging.getLogger(__name__), logging.WARNING
    with stream, about(job_id or ""):
        for line in stream:
            log.log(level, "%s", line.decode("utf-8", "replace").rstrip())
