# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the engine of this computer as a process of its own, and ends it. No bpy."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .environment import environment_folder, installed, python_of
from .wire import EngineRecord, home_folder, read_engine_record
from .wire.processes import is_there

PYTHON_VARIABLE = "TEAMWORK_ENGINE_PYTHON"
ROOT = Path(__file__).resolve().parents[1]
LOG = "engine.log"
AUTO = "auto"
POLL_SECONDS = 0.05
REDIRECTS = os.name == "nt"
"""The Python of a virtual environment of Windows starts the real one as its child, which then has another process number."""
CONNECT_SECONDS = 0.5


class LaunchError(Exception):
    """The engine could not be started; the text is one sentence with the fix."""


@dataclass
class Engine:
    """An engine that we have started; it may not listen yet."""

    process: subprocess.Popen
    home: Path
    before: str = ""
    """The instance whose record lay there when this one was started."""

    @property
    def log(self) -> Path:
        """The file that holds what it says."""
        return self.home / LOG

    @property
    def running(self) -> bool:
        """Is the process still there?"""
        return self.process.poll() is None

    @property
    def record(self) -> EngineRecord | None:
        """Where it listens; None before it does."""
        record = read_engine_record(self.home)
        ours = record and (record.pid == self.process.pid or (REDIRECTS and record.instance != self.before))
        return record if ours else None

    def wait(self, timeout: float = 30.0) -> EngineRecord:
        """Wait until it listens. Raises `LaunchError` with its last words, also when it is stopped meanwhile."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.running:
            record = self.record
            if record is not None:
                return record
            time.sleep(POLL_SECONDS)
        if self.running:
            self.process.kill()
            raise LaunchError(f"The engine did not listen within {timeout:.0f} s; its log is {self.log}.")
        raise LaunchError(f"The engine ended at once: {_last_line(self.log)} The whole log is {self.log}.")

    def stop(self, most_seconds: float = 5.0) -> None:
        """End it, politely at first."""
        self.process.terminate()
        try:
            self.process.wait(most_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def find_python(chosen: str = "") -> Path:
    """The Python of the engine's environment: the chosen one, TEAMWORK_ENGINE_PYTHON's, the one that was set up from
    Blender, or the one beside this folder.

    Raises `LaunchError` if there is none.
    """
    wanted = chosen or os.environ.get(PYTHON_VARIABLE, "")
    path = Path(wanted).expanduser() if wanted else _own_python()
    if path.is_file():
        return path
    if wanted:
        raise LaunchError(f"There is no Python at {path}: set the engine's Python in the add-on's preferences.")
    raise LaunchError(
        "No engine is set up: press Set Up Engine, or give the address of an engine that runs elsewhere in the preferences."
    )


def _own_python() -> Path:
    return python_of(environment_folder()) if installed() else python_of(ROOT / ".venv")


def find_device(chosen: str, python: Path) -> str:
    """The device to start an engine with; for auto, the best that its environment was found to compute on."""
    if chosen != AUTO:
        return chosen
    stamp = installed()
    return stamp.device if stamp and python == python_of(environment_folder()) else "cpu"


def find_engine(home: Path | str | None = None) -> EngineRecord | None:
    """The engine of this computer's user that runs already. The record of one that was killed stays, and another program may have
    its port by now."""
    record = read_engine_record(home)
    return record if record and is_there(record.pid) and _listens(record.address) else None


def _listens(address: str) -> bool:
    place = urlsplit(address)
    try:
        with socket.create_connection((place.hostname, place.port), CONNECT_SECONDS):
            return True
    except (OSError, ValueError):
        return False


def start_engine(python: Path, home: Path | str | None = None, *, device: str = "cpu", timeout: float = 30.0) -> Engine:
    """Start an engine on a free port of this computer and wait until it listens. It ends with this process.

    What it says goes to `engine.log` in the home folder. Raises `LaunchError` with the last line of it.
    """
    engine = spawn_engine(python, home, device=device)
    engine.wait(timeout)
    return engine


def spawn_engine(python: Path, home: Path | str | None = None, *, device: str = "cpu", warm: bool = False) -> Engine:
    """Start an engine as `start_engine` does, but do not wait for it; with `warm` it prepares for the first job at once.

    Raises `LaunchError`.
    """
    folder = home_folder(home)
    command = [str(python), "-m", "engine_server", "serve", "--address", "127.0.0.1:0", "--home", str(folder), "--drain", "0"]
    command += ["--device", device, "--parent-pid", str(os.getpid()), *(["--warm"] if warm else [])]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = read_engine_record(folder)
        with (folder / LOG).open("ab") as output:
            return Engine(_spawn(command, folder, output, _sources(python)), folder, before.instance if before else "")
    except OSError as error:
        raise LaunchError(f"The engine cannot be started with {python} in {folder}: {error.strerror}.") from error


def _sources(python: Path) -> list[str]:
    """Where the engine's code is if its environment does not have it installed: beside this folder or that environment."""
    places = [ROOT, *python.absolute().parents[2:3]]
    return [str(place) for place in places if (place / "engine_server").is_dir()][:1]


def _spawn(command: list[str], folder: Path, output, paths: list[str]) -> subprocess.Popen:
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH")}  # those are Blender's own
    variables |= {"PYTHONUNBUFFERED": "1"} | ({"PYTHONPATH": paths[0]} if paths else {})
    hidden = {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}
    # Not in Blender's working folder: Python would import whatever lies there.
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=variables, cwd=str(folder), **hidden
    )


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1].rstrip(".") + "." if lines else "it said nothing."
