# SPDX-License-Identifier: GPL-3.0-or-later
"""Child processes of a set-up: what they say goes to a log and, line by line, to whoever shows it; they can be ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import SetupCancelled, SetupError
from .pythons import HIDDEN, clean_environment

GRACE = 5.0
ROOM = "tmp"
"""What pip unpacks lies here, beside the log: gigabytes, more than many a system's own place for such files holds."""

OnLine = Callable[[str], bool]
"""Told each line; True keeps it out of the log."""


class Children:
    """Runs one command after the other; `end` ends the one that runs, with all its own children, and all that follow."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._ended = threading.Event()
        self._child: subprocess.Popen | None = None
        self._guard = threading.Lock()

    def run(self, command: Sequence[str], on_line: OnLine = lambda line: False) -> int:
        """Its exit status. Raises `SetupCancelled` after `end`, `SetupError` if it cannot be started."""
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            child = self._start(command)
            with child.stdout:
                for line in child.stdout:
                    if not on_line(line.rstrip()):
                        log.write(line)
            status = child.wait()
        if self._ended.is_set():
            raise SetupCancelled
        return status

    def _start(self, command: Sequence[str]) -> subprocess.Popen:
        own_group = HIDDEN if sys.platform == "win32" else {"start_new_session": True}
        room = self._log.parent / ROOM
        told = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        variables = clean_environment() | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(room)) | told
        with self._guard:
            if self._ended.is_set():
                raise SetupCancelled
            room.mkdir(exist_ok=True)
            try:
                self._child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    encoding="utf-8", errors="replace", env=variables, cwd=self._log.parent, **own_group,
                )
            except OSError as error:
                raise SetupError(f"{command[0]} cannot be started: {error.strerror}.") from error
        return self._child

    def end(self) -> None:
        """End the child that runs; may be called from any thread, and again."""
        with self._guard:
            self._ended.set()
            child = self._child
        if child is None or child.poll() is not None:
            return
        _end_tree(child, signal.SIGTERM)
        timer = threading.Timer(GRACE, _end_tree, (child, getattr(signal, "SIGKILL", signal.SIGTERM)))
        timer.daemon = True
        timer.start()


def _end_tree(child: subprocess.Popen, how: int) -> None:
    if child.poll() is not None:
        return
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(child.pid)], capture_output=True, check=False, **HIDDEN)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, how)
