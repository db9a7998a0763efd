# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers as processes of this computer: started, asked to end, killed. Never forked, so any operating system will do."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from .executor import NotStarted
from .logs import take_over
from .worker_link import GOODBYE, Orders

log = logging.getLogger(__name__)

GRACE = 2.0
"""Seconds that a worker has for ending by itself."""


class Processes:
    """The executor of this computer: one worker for each of its `places`. `wake` is called when one has ended."""

    attempts, listen, remote = 1, "", False

    def __init__(self, places: tuple[str, ...], wake: Callable[[], None]) -> None:
        self.places, self._wake = places, wake

    def start(self, orders: Orders) -> WorkerProcess:
        """Start a worker. Raises `NotStarted`."""
        try:
            return WorkerProcess(orders, self._wake)
        except OSError as error:
            raise NotStarted(f"{error.strerror}: close other programs and try again") from error

    def late(self, seconds: float) -> str:
        """The sentence for a worker that did not come up within so many seconds."""
        return f"The worker process did not come up within {seconds:.0f} s; the engine's log may tell why."

    def check(self) -> None:
        """Nothing: processes are asked one by one."""

    def close(self) -> None:
        """Nothing is left when all processes have ended."""


class WorkerProcess:
    """A started worker. `on_exit` is called from another thread when the process has ended, whatever the reason."""

    def __init__(self, orders: Orders, on_exit: Callable[[], None]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "engine_server.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": python_path()},
        )
        self._on_exit = on_exit
        take_over(self._process.stdout)
        self._input(orders.line())
        threading.Thread(target=self._wait, name="worker-exit", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def ended(self) -> str | None:
        """How the process ended, in words; None while it runs."""
        code = self._process.poll()
        return None if code is None else describe_exit(code)

    def stop(self) -> None:
        """Ask the process to end by closing its input, and see to it that it does."""
        with contextlib.suppress(OSError):
            self._process.stdin.write(GOODBYE)
            self._process.stdin.close()
        timer = threading.Timer(GRACE, self._process.kill)
        timer.daemon = True
        timer.start()

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()

    def join(self) -> None:
        """Wait until the process has ended; a stopped one needs `GRACE` at most."""
        self._process.wait()

    def _input(self, line: bytes) -> None:
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except OSError as error:
            log.warning("worker %d took no orders (%s)", self.pid, error)

    def _wait(self) -> None:
        self._process.wait()
        self._on_exit()


def python_path() -> str:
    """The import path with this package's parent in front, so that the worker runs the server's own code."""
    root = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


def describe_exit(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", as happens when the computer runs out of memory" if name == "SIGKILL" else ""
    return f"by {name}{hint}"
