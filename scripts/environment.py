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
EXTRAS = ("engine", "train", "dev")
BLENDER_INDEX = "https://download.blender.org/pypi/"
STAMP, LOG = "teamwork-stamp", "teamwork-install.log"
TOLD = ("Collecting ", "Downloading ", "Installing ", "Building ")

Say = Callable[[str], None]


class SetupError(Exception):
    """The environment cannot be made; the text is one sentence with the fix."""


def guarded(work: Callable[[Path], int]) -> int:
    """Set up, do the work with the environment's Python, give its exit status. Mistakes become a sentence and 2."""
    try:
        return work(ensure())
    except SetupError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def variables(**more: str) -> dict[str, str]:
    """The environment variables of a process started here: its output comes at once, and in UTF-8 on every system."""
    return os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"} | more


def requirements(extras: Sequence[str] = EXTRAS, root: Path = ROOT) -> list[str]:
    """The project's dependencies and those of the extras, from pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]


def python_of(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure(root: Path = ROOT, extras: Sequence[str] = EXTRAS, say: Say = print) -> Path:
    """Make the `.venv` of `root` if it is missing, half made or out of date; gives its Python.

    The stamp is written last, so whatever was cut off is taken up again. Raises `SetupError`.
    """
    folder = root / ".venv"
    wanted = _fingerprint(root, extras)
    stamp, python = folder / STAMP, python_of(folder)
    if python.exists() and stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    started = time.monotonic()
    say(f"Setting up {folder} (once; some GB are downloaded and unpacked, which takes minutes)")
    _make(folder, python)
    _install(python, folder, root, extras, say)
    stamp.write_text(wanted, "utf-8")
    say(f"Set up in {time.monotonic() - started:.0f} s")
    return python


def _fingerprint(root: Path, extras: Sequence[str]) -> str:
    facts = [*requirements(extras, root), (root / "constraints.txt").read_text("utf-8"), sys.version]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _make(folder: Path, python: Path) -> None:
    """A new virtual environment, unless there is a working one of this Python whose packages only need an update."""
    if _works(python):
        return
    try:
        venv.create(folder, with_pip=True, clear=folder.exists(), symlinks=os.name != "nt")
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            f"The environment {folder} cannot be made ({error}): see whether the disk is full, the folder is closed to "
            "you, or your system has Python's venv in a package of its own (python3-venv)."
        ) from error


def _works(python: Path) -> bool:
    """Does it run, is it of our version, and has it pip?"""
    ask = "import sys, pip; print(sys.version)"
    try:
        said = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return said.returncode == 0 and said.stdout.strip() == sys.version.strip()


def _install(python: Path, folder: Path, root: Path, extras: Sequence[str], say: Say) -> None:
    install(python, folder, ["-c", str(root / "constraints.txt"), *requirements(extras, root)], say)


def install(python: Path, folder: Path, words: Sequence[str], say: Say) -> None:
    """Install with pip; if the usual index has no Blender module for this machine, look in Blender's own, too.

    What pip says goes to a log in `folder`. Raises `SetupError`.
    """
    command = [str(python), "-m", "pip", "install", "--progress-bar", "off", *words]
    log = folder / LOG
    if _run(command, log, say) and _run([*command, "--extra-index-url", BLENDER_INDEX], log, say):
        raise SetupError(f"The packages could not be installed: see the end of {log}, mend it, and run this again.")


def _run(command: list[str], log: Path, say: Say) -> int:
    """Run pip; what it fetches is told, everything is logged. Gives the exit status."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace"}
    with log.open("a", encoding="utf-8") as file, subprocess.Popen(command, env=variables(), **pipes) as process:
        for line in process.stdout:
            file.write(line)
            if line.lstrip().startswith(TOLD):
                say("  " + " ".join(line.split())[:100])
    return process.returncode
