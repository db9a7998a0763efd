# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder in the user's data that clients and engines of this computer share: keys, and where the engine listens."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import CredentialsError

ENGINE_FILE = "engine.json"


def home_folder(folder: Path | str | None = None) -> Path:
    """The shared folder: `folder`, else the environment's TEAMWORK_HOME, else the system's usual place. Makes nothing."""
    chosen = folder or os.environ.get("TEAMWORK_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "Teamwork"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Teamwork"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "teamwork"


OPEN_TO_OTHERS = 0o077
WRITABLE_BY_OTHERS = 0o022


def private_folder(folder: Path, forbidden: int = OPEN_TO_OTHERS) -> Path:
    """Make `folder` for its owner alone, or raise `CredentialsError` if it is there with a `forbidden` mode bit."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CredentialsError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    require_private(folder, forbidden)
    return folder


def require_private(path: Path, forbidden: int = OPEN_TO_OTHERS) -> None:
    """Raise `CredentialsError` unless `path` is ours and its mode has none of the `forbidden` bits.

    Only where files have a POSIX mode: on Windows the user's data folder is private by its access control list.
    """
    if os.name != "posix":
        return
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & forbidden:
        raise CredentialsError(
            f"Others can open or change {path} (its mode is {mode:o}): run `chmod {mode & ~forbidden:o} '{path}'`."
        )
    if status.st_uid != os.geteuid():
        raise CredentialsError(f"{path} belongs to another user: set TEAMWORK_HOME to a folder of your own.")


def write_private(path: Path, text: str) -> None:
    """Put a whole new file in the place of `path`, readable by its owner alone."""
    with _staged(path, text) as staged:
        os.replace(staged, path)


def create_private(path: Path, text: str) -> bool:
    """Make the file, whole and for its owner alone; False if somebody else made it first."""
    with _staged(path, text) as staged:
        return _publish(staged, path)


@contextlib.contextmanager
def _staged(path: Path, text: str):
    """The text in a temporary file beside `path`; such files get mode 600 when they are made. It is gone afterwards."""
    try:
        handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        _fill(handle, text, path)
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _fill(handle: int, text: str, path: Path) -> None:
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> CredentialsError:
    return CredentialsError(f"{path} cannot be written ({error.strerror}): make room on its disk, or mend who may write there.")


def _publish(staged: str, path: Path) -> bool:
    """Give the file its name unless the name is taken. os.rename overwrites on POSIX and os.link is not everywhere."""
    give_name: Callable[[str, Path], None] = os.rename if os.name == "nt" else os.link
    try:
        give_name(staged, path)
    except FileExistsError:
        return False
    return True


@dataclass(frozen=True)
class EngineRecord:
    """Where the engine of this home listens, and which process it is."""

    address: str
    pid: int
    instance: str
    version: str

    def write(self, home: Path) -> None:
        """Leave the record for clients and launchers."""
        write_private(home / ENGINE_FILE, json.dumps(asdict(self), indent=2) + "\n")

    def remove(self, home: Path) -> None:
        """Take the record away, unless another engine has put its own in its place."""
        if read_engine_record(home) == self:
            (home / ENGINE_FILE).unlink(missing_ok=True)


def read_engine_record(home: Path | str | None = None) -> EngineRecord | None:
    """The record of the engine that was started last with this home; None if it was stopped or there never was one."""
    try:
        entries = json.loads((home_folder(home) / ENGINE_FILE).read_text(encoding="utf-8"))
        record = EngineRecord(**entries)
        types = [type(value) for value in asdict(record).values()]
        return record if types == [str, int, str, str] else None
    except (OSError, ValueError, TypeError):
        return None
