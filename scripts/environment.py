# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of the demo and the tests: a `.venv` beside this folder, made once. Standard library only."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUPPORTED = ((3, 11), (3, 13))
EXTRAS = ("engine", "train", "host", "demo", "dev")
BLENDER_INDEX = "https://download.blender.org/pypi/"
STAMP, LOG = "teamwork-stamp", "teamwork-install.log"
TOLD = ("Collecting ", "Downloading ", "Installing ", "Building ")

Say = Callable[[str], None]


class SetupError(Exception):
    """The environment cannot be made; the text is one sentence with the fix."""


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> None:
    """Raise `SetupError` unless Blender's module exists for this Python."""
    if version not in SUPPORTED:
        raise SetupError(
            f"This is Python {version[0]}.{version[1]}, for which there is no Blender module: run this with Python 3.11 or 3.13."
        )


def requirements(extras: Sequence[str] = EXTRAS) -> list[str]:
    """The project's dependencies and those of the extras, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]


def python_of(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure(folder: Path = ROOT / ".venv", extras: Sequence[str] = EXTRAS, say: Say = print) -> Path:
    """Make the environment if it is missing, half made or out of date; gives its Python. Raises `SetupError`."""
    check_python()
    wanted = _fingerprint(extras)
    stamp, python = folder / STAMP, python_of(folder)
    if python.exists() and stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    started = time.monotonic()
    say(f"Setting up {folder} (once; about 2 GB are downloaded and unpacked)")
    _make(folder, python)
    _install(python, folder, extras, say)
    stamp.write_text(wanted, "utf-8")
    say(f"Set up in {time.monotonic() - started:.0f} s")
    return python


def _fingerprint(extras: Sequence[str]) -> str:
    facts = [*requirements(extras), (ROOT / "constraints.txt").read_text("utf-8"), sys.version]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _make(folder: Path, python: Path) -> None:
    """A new virtual environment, unless there is a working one whose packages only need an update."""
    works = python.exists() and subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    if works:
        return
    try:
        venv.create(folder, with_pip=True, clear=folder.exists())
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(f"The environment {folder} cannot be made ({error}): is the disk full, or python3-venv missing?") from error


def _install(python: Path, folder: Path, extras: Sequence[str], say: Say) -> None:
    """Install with pip; if the usual index has no Blender module for this machine, look in Blender's own, too."""
    command = [str(python), "-m", "pip", "install", "--progress-bar", "off", "-c", str(ROOT / "constraints.txt")]
    command += requirements(extras)
    log = folder / LOG
    if _run(command, log, say) and _run([*command, "--extra-index-url", BLENDER_INDEX], log, say):
        raise SetupError(f"The packages could not be installed: see {log}, mend what it names, and run this again.")


def _run(command: list[str], log: Path, say: Say) -> int:
    """Run pip; what it fetches is told, everything is logged. Gives the exit status."""
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        for line in process.stdout:
            file.write(line)
            if line.lstrip().startswith(TOLD):
                say("  " + " ".join(line.split())[:100])
        return process.wait()
