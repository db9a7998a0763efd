# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the engine of this computer as a process of its own, and ends it. No bpy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .wire import EngineRecord, home_folder, read_engine_record

PYTHON_VARIABLE = "TEAMWORK_ENGINE_PYTHON"
ROOT = Path(__file__).resolve().parents[1]
LOG = "engine.log"
POLL_SECONDS = 0.05


class LaunchError(Exception):
    """The engine could not be started; the text is one sentence with the fix."""


@dataclass
class Engine:
    """A running engine that we have started."""

    process: subprocess.Popen
    record: EngineRecord

    def stop(self, most_seconds: float = 5.0) -> None:
        """End it, politely at first."""
        self.process.terminate()
        try:
            self.process.wait(most_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def running(self) -> bool:
        """Is the process still there?"""
        return self.process.poll() is None


def find_python(chosen: str = "") -> Path:
    """The Python of the engine's environment: the chosen one, TEAMWORK_ENGINE_PYTHON's, or the one beside this folder.

    Raises `LaunchError` if there is none.
    """
    wanted = chosen or os.environ.get(PYTHON_VARIABLE, "")
    own = ROOT / ".venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    path = Path(wanted).expanduser() if wanted else own
    if path.is_file():
        return path
    if wanted:
        raise LaunchError(f"There is no Python at {path}: set the engine's Python in the add-on's preferences.")
    raise LaunchError(
        "No engine is set up: give the Python of the engine's environment, or the address of an engine, in the preferences."
    )


def find_engine(home: Path | str | None = None) -> EngineRecord | None:
    """The engine of this computer's user that runs already, if its process is there."""
    record = read_engine_record(home)
    return record if record and _exists(record.pid) else None


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        listed = subprocess.run(["tasklist", "/FI", f"PID eq {pid}", "/NH"], capture_output=True, text=True, check=False)
        return str(pid) in listed.stdout
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def start_engine(python: Path, home: Path | str | None = None, *, device: str = "cpu", timeout: float = 30.0) -> Engine:
    """Start an engine on a free port of this computer and wait until it listens. It ends with this process.

    What it says goes to `engine.log` in the home folder. Raises `LaunchError` with the last line of it.
    """
    folder = home_folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / LOG
    command = [str(python), "-m", "engine_server", "serve", "--address", "127.0.0.1:0", "--home", str(folder)]
    command += ["--device", device, "--parent-pid", str(os.getpid())]
    with log.open("ab") as output:
        process = _spawn(command, output)
    return Engine(process, _wait(process, folder, log, timeout))


def _spawn(command: list[str], output) -> subprocess.Popen:
    paths = [str(ROOT)] if (ROOT / "engine_server").is_dir() else []
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH")}  # those are Blender's own
    variables |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    hidden = {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=variables, cwd=str(ROOT), **hidden
        )
    except OSError as error:
        raise LaunchError(f"The engine cannot be started with {command[0]}: {error.strerror}.") from error


def _wait(process: subprocess.Popen, folder: Path, log: Path, timeout: float) -> EngineRecord:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        record = read_engine_record(folder)
        if record and record.pid == process.pid:
            return record
        time.sleep(POLL_SECONDS)
    if process.poll() is None:
        process.kill()
        raise LaunchError(f"The engine did not listen within {timeout:.0f} s; its log is {log}.")
    raise LaunchError(f"The engine ended at once: {_last_line(log)} The whole log is {log}.")


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1].rstrip(".") + "." if lines else "it said nothing."
