# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker process, as its operating system sees it: started, asked to end, killed. Never forked, so any OS will do."""

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

from .worker_link import Orders

log = logging.getLogger(__name__)

GRACE = 2.0
"""Seconds that a worker has for ending by itself."""


class WorkerProcess:
    """A started worker. `on_exit` is called from another thread when the process has ended, whatever the reason."""

    def __init__(self, orders: Orders, on_exit: Callable[[], None]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "engine_server.worker"],
            stdin=subprocess.PIPE,
            stdout=sys.stderr.fileno(),
            env=os.environ | {"PYTHONPATH": python_path()},
        )
        self._on_exit = on_exit
        self._input(orders.line())
        threading.Thread(target=self._wait, name="worker-exit", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """How the process ended (below zero: by that signal); None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask the process to end by closing its input, and see to it that it does."""
        with contextlib.suppress(OSError):
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
