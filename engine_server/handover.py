# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's folder for large images of clients and workers of the same user on this computer, beside the messages.

The server passes references on and reads a file only for a client that cannot. It knows which files belong to jobs and
results; what nobody has claimed after a while is removed, and with the engine all of it. What an engine that was killed has
left goes with its worker, or when the next one starts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from blender_addon.wire import HandoverLost
from blender_addon.wire.handover import PROOF_BYTES, PROOF_FILE, Folder, available
from blender_addon.wire.reference import NAME, Reference

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

log = logging.getLogger(__name__)

MEMORY = Path("/dev/shm")
PREFIX = "teamwork-handover-"
UNCLAIMED_SECONDS = 120.0
"""How long a file waits for the message that names it, and a process keeps one for its pages."""
SWEEP_SECONDS = 15.0
YOUNG_SECONDS = 60.0
"""How long a new folder may be without a proof."""
MOST_CONNECTIONS = 1024


class Handover:
    """The folder of one engine, from its start to `close`. Raises `OSError` or `HandoverLost` where it cannot be made.

    The lock on its proof tells other engines that this one lives.
    """

    def __init__(self) -> None:
        for folder in _places():
            sweep_dead(folder)
        path = _made()
        self.folder = Folder(path)
        self._proof = secrets.token_hex(PROOF_BYTES // 2)
        self._lock = _locked_proof(path, self._proof)
        self._near: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._claimed: set[str] = set()
        self._swept = time.monotonic()

    @staticmethod
    def open(remote: bool) -> Handover | None:
        """The folder, or None where there is none, or the workers are on other computers."""
        if remote or not available():
            return None
        try:
            return Handover()
        except (OSError, HandoverLost) as error:
            log.warning("all images go in messages: no folder can be made for them (%s)", error)
            return None

    # ---- clients -----------------------------------------------------------------------------------------------------

    def prove(self, owner: str, route: bytes, proof: str) -> bool:
        """Is the proof right? If it is, this connection may use files from now on; else it may not any more."""
        self._near.pop((owner, route), None)
        right = secrets.compare_digest(proof.encode(), self._proof.encode())
        if right:
            self._near[owner, route] = None
        if len(self._near) > MOST_CONNECTIONS:
            self._near.popitem(last=False)
        return right

    def near(self, owner: str, route: bytes) -> bool:
        """May this connection use files?"""
        return (owner, route) in self._near

    # ---- files -------------------------------------------------------------------------------------------------------

    def claim(self, files: Iterable[Reference]) -> bool:
        """Keep these files from now on. False, and none is kept, if one is not as it should be or kept already."""
        files = list(files)
        names = {file.name for file in files}
        if len(names) < len(files) or names & self._claimed or not all(map(self.folder.holds, files)):
            return False
        self._claimed |= names
        return True

    def carried(self, frames: Iterable[Any], files: Mapping[int, Reference]) -> Carried | None:
        """A message whose files are claimed; None if they cannot be."""
        return Carried(frames, files, self) if self.claim(files.values()) else None

    def discard(self, names: Iterable[str]) -> None:
        """Remove files, if they are still there."""
        for name in names:
            self._claimed.discard(name)
            self.folder.remove(name)

    def sweep(self, now: float | None = None) -> None:
        """Remove files that nobody has claimed in time; to be called now and then."""
        now = time.monotonic() if now is None else now
        if now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        with contextlib.suppress(OSError), os.scandir(self.folder.path) as entries:
            for entry in entries:
                if NAME.fullmatch(entry.name) and entry.name not in self._claimed and _age(entry) > UNCLAIMED_SECONDS:
                    self.folder.remove(entry.name)

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.folder.path, ignore_errors=True)
        self.folder.close()
        os.close(self._lock)


class Carried(list):
    """A message's frames, some of which are references to files that the engine has claimed."""

    def __init__(self, frames: Iterable[Any], files: Mapping[int, Reference], handover: Handover) -> None:
        super().__init__(frames)
        self.files, self.handover = files, handover

    def there(self) -> bool:
        """Are all files as they should be?"""
        return all(map(self.handover.folder.holds, self.files.values()))

    def discard(self) -> None:
        """Remove the files."""
        self.handover.discard(file.name for file in self.files.values())


def size_of(frames: Iterable[Any]) -> int:
    """Bytes of a message, with those in its files."""
    files = frames.files.values() if isinstance(frames, Carried) else ()
    return sum(memoryview(frame).nbytes for frame in frames) + sum(file.size for file in files)


def whole(frames: Iterable[Any]) -> Iterator[memoryview]:
    """The frames one by one, with the bytes of its files in place of their references. Raises `HandoverLost`."""
    files = frames.files if isinstance(frames, Carried) else {}
    for index, frame in enumerate(frames):
        yield frames.handover.folder.read(files[index]) if index in files else memoryview(frame)


def reachable(frames: list, near: bool) -> list:
    """The frames for a client that can read files, or for one that cannot. Raises `HandoverLost`."""
    return frames if not isinstance(frames, Carried) or (near and frames.there()) else list(whole(frames))


def discard(frames: Any) -> None:
    """Remove the files of a message that is not needed any more."""
    if isinstance(frames, Carried):
        frames.discard()


@contextlib.contextmanager
def discarded_on_errors(frames: Any) -> Iterator[None]:
    """Whatever is raised within leaves no files of this message behind."""
    try:
        yield
    except BaseException:
        discard(frames)
        raise


# ---- folders of this and other engines -------------------------------------------------------------------------------


def _places() -> list[Path]:
    """Where a folder may be, the best place first: files in memory never wait for a disk."""
    return [place for place in (MEMORY, Path(tempfile.gettempdir())) if place.is_dir()]


def _made() -> str:
    for place in _places():
        with contextlib.suppress(OSError):
            return tempfile.mkdtemp(prefix=PREFIX, dir=place)  # mode 0700
    raise OSError(f"neither {MEMORY} nor the folder for temporary files can be written")


def _locked_proof(folder: str, proof: str) -> int:
    """Make the folder's proof, which others find either locked or not at all."""
    name = os.path.join(folder, PROOF_FILE)
    handle = os.open(f"{name}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    os.write(handle, proof.encode())
    os.rename(f"{name}.new", name)
    return handle


def sweep_dead(place: Path) -> None:
    """Remove the folders of this user's engines that do not live any more."""
    with contextlib.suppress(OSError):
        for folder in place.glob(f"{PREFIX}*"):
            remove_dead(folder)


def remove_dead(folder: Path | str) -> bool:
    """Remove an engine's folder unless the engine lives. Whether it is gone."""
    try:
        handle = os.open(os.path.join(folder, PROOF_FILE), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        dead = os.path.isdir(folder) and time.time() - os.lstat(folder).st_ctime > YOUNG_SECONDS
        return _remove(folder) if dead else not os.path.lexists(folder)
    except OSError:
        return False  # another user's
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _remove(folder)
    except OSError:
        return False
    finally:
        os.close(handle)


def _remove(folder: Path | str) -> bool:
    status = os.lstat(folder)
    if status.st_uid == os.geteuid():
        shutil.rmtree(folder, ignore_errors=True)
    return not os.path.lexists(folder)


def _age(entry: os.DirEntry) -> float:
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_ctime
    except OSError:
        return 0.0


def outlive(folder: str, seconds: float = 2.0) -> None:
    """For a process whose server has ended without a word: remove its folder, as soon as it lets go of it."""
    deadline = time.monotonic() + seconds
    while not remove_dead(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
