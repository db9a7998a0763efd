# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine of a benchmark's own: a process with a home in a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blender_addon.wire import Client, Credentials
from scripts.environment import ROOT


@dataclass(frozen=True)
class Engine:
    """A running engine; `ready_after` is the seconds from its start until it listened."""

    process: subprocess.Popen
    home: Path
    address: str
    ready_after: float

    def client(self, **settings) -> Client:
        """A client with the engine's own key."""
        return Client(self.address, Credentials.local(self.home), **settings)


@contextmanager
def engine(*words: str) -> Iterator[Engine]:
    """Start an engine, and end it; `words` are further arguments of `serve`. Its log is thrown away."""
    with tempfile.TemporaryDirectory(prefix="teamwork-benchmark-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        command = [sys.executable, "-m", "engine_server", "serve", "--address", "127.0.0.1:0", "--home", str(home), *words]
        variables = os.environ | {"TEAMWORK_HOME": str(home), "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
        started = time.perf_counter()
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        with subprocess.Popen(command, cwd=ROOT, env=variables, **pipes) as process:
            try:
                said = process.stdout.readline().split()
                yield Engine(process, home, said[1], time.perf_counter() - started)
            finally:
                process.terminate()
