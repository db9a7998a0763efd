# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the environment is, whether it is whole, and that only one Blender works on it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from ..wire import home_folder
from .errors import SetupError

STAMP = "teamwork-setup.json"


@dataclass(frozen=True)
class Installed:
    """The stamp of a whole environment: from what it was made, what its PyTorch computes on, and its versions."""

    source: str
    device: str
    python: str
    torch: str
    engine: str


def environment_folder(home: Path | str | None = None) -> Path:
    """The environment of a home folder; its name is short, since Windows limits the length of paths."""
    return home_folder(home) / "env"


def log_file(home: Path | str | None = None) -> Path:
    """What the installers said, of all tries."""
    return home_folder(home) / "setup.log"


def python_of(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def installed(home: Path | str | None = None) -> Installed | None:
    """What is set up; None if there is nothing, or it is half made, or its Python has gone (with the one it came from)."""
    folder = environment_folder(home)
    try:
        stamp = Installed(**json.loads((folder / STAMP).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return stamp if python_of(folder).exists() and _base_exists(folder) else None  # a link that leads nowhere does not exist


def _base_exists(folder: Path) -> bool:
    """Is the Python there that an environment was made from? On Windows its own Python stays when that one goes."""
    try:
        told = dict(line.split("=", 1) for line in (folder / "pyvenv.cfg").read_text("utf-8", "replace").splitlines() if "=" in line)
    except OSError:
        return True
    home = next((value.strip() for name, value in told.items() if name.strip() == "home"), "")
    return not home or Path(home).is_dir()


def write_stamp(folder: Path, stamp: Installed) -> None:
    """The last thing that is done."""
    (folder / STAMP).write_text(json.dumps(asdict(stamp), indent=2) + "\n", "utf-8")


def remove_stamp(folder: Path) -> None:
    """The environment is not whole any more."""
    (folder / STAMP).unlink(missing_ok=True)


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """Nobody else works on the environment meanwhile. The system lifts the lock of a process that was killed.

    Raises `SetupError`.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / "setup.lock").touch()
    except OSError as error:
        raise SetupError(f"The folder {home} cannot be written ({error.strerror}): mend its permissions.") from error
    try:
        file = lock_file(home / "setup.lock")
    except OSError as error:
        raise SetupError("Another Blender is setting up the engine just now: wait until it has finished.") from error
    with file:
        yield


def lock_file(path: Path) -> BinaryIO:
    """Hold a file, made if need be, until it is closed or this process ends. Raises `OSError` if another holds it."""
    file = path.open("a+b")
    try:
        _lock(file)
    except OSError:
        file.close()
        raise
    return file


if os.name == "nt":
    import msvcrt

    def _lock(file) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
