# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder in which the processes of one user on one computer leave large buffers for each other, beside the messages.

Every file has a random name, is read whole and never mapped, so that nobody falls when another one cuts it short. Who has
taken a file over may write his next one in its pages: on a memory file system new pages cost more than the bytes in them.
POSIX only: Windows has neither owners to look at nor names relative to an open folder.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from .errors import HandoverLost
from .home import OPEN_TO_OTHERS
from .reference import NAME, Reference, sum_of

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PROOF_FILE = "proof"
PROOF_BYTES = 32
MOST_SPARE = 256 << 20
"""Bytes of files that a process keeps for their pages."""
MOST_PARTS, PART_BYTES = 4, 4 << 20
"""A large file is read in so many parts side by side, each of so many bytes at least: one processor does not use up the memory."""

Made = TypeVar("Made")


def available() -> bool:
    """Can this system hand files over?"""
    return fcntl is not None and hasattr(os, "preadv") and {os.link, os.open, os.rename, os.stat, os.unlink} <= os.supports_dir_fd


class Folder:
    """An open folder, which only this user may enter. Raises `HandoverLost` for any other."""

    def __init__(self, path: str) -> None:
        self.path, self._spares = path, {}
        try:
            self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except (OSError, ValueError) as error:
            raise HandoverLost(f"The folder {path!r} cannot be opened ({error}).") from error
        if not _ours(os.fstat(self._folder), stat.S_ISDIR):
            os.close(self._folder)
            raise HandoverLost(f"The folder {path!r} is not this user's alone.")

    def close(self) -> None:
        """End it, without the files that were kept for their pages."""
        self._drop_spares()
        os.close(self._folder)

    def proof(self) -> str:
        """What stands in the folder's file `proof`: who can tell it is the same user on the same computer."""
        with self._opened(PROOF_FILE) as handle:
            return os.read(handle, PROOF_BYTES).decode("ascii", "replace")

    # ---- writing -----------------------------------------------------------------------------------------------------

    def lay_down(self, data: memoryview, summed: bool = False) -> bytes | None:
        """Write the bytes into a file; its reference as a frame. None where there is no room, or the folder is gone."""
        name = secrets.token_hex(16)
        total = _aside(lambda: sum_of(data)) if summed else lambda: None
        try:
            with self._made(name, data.nbytes) as handle:
                _write(handle, data)
        except OSError:
            self.remove(name)
            self._drop_spares()
            return None
        return Reference(name, data.nbytes, total()).frame()

    @contextlib.contextmanager
    def _made(self, name: str, size: int) -> Iterator[int]:
        handle = self._reused(name, size)
        if handle is None:
            self._require_room(size)
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=self._folder)
        try:
            yield handle
        finally:
            os.close(handle)

    def _require_room(self, size: int) -> None:
        """Half of what is free stays free: a full memory file system harms other programs."""
        system = os.fstatvfs(self._folder)
        if 2 * size > system.f_bavail * system.f_frsize:
            raise OSError("there is no room")

    def _reused(self, name: str, size: int) -> int | None:
        """A file that was taken over, under its new name; None if there is none, or somebody still reads it."""
        free = [spare for spare in self._spares if self._is_mine_alone(spare)]
        if not free:
            return None
        spare = min(free, key=lambda each: abs(self._spares[each] - size))
        del self._spares[spare]
        handle = None
        try:
            os.rename(spare, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            handle = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._folder)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._require_room(size - os.fstat(handle).st_size)
            os.ftruncate(handle, min(size, os.fstat(handle).st_size))
            return handle
        except OSError:
            if handle is not None:
                os.close(handle)
            self.remove(name)
            return None

    def _is_mine_alone(self, spare: str) -> bool:
        """Has a file that was kept no other name any more, by which somebody might read it?"""
        try:
            return os.stat(spare, dir_fd=self._folder, follow_symlinks=False).st_nlink == 1
        except OSError:
            return True  # swept: whoever wants to use it will see

    def recycle(self, name: str, leave: bool = False) -> None:
        """Take a file over that was read: its pages are kept for a later one, within bounds.

        With `leave` it keeps its own name as well, for whoever may want to read it, and its pages stay as they are until its
        owner has removed that name.
        """
        spare = secrets.token_hex(16)
        with contextlib.suppress(OSError):
            if leave:
                os.link(name, spare, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=False)
            else:
                os.rename(name, spare, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._spares[spare] = os.stat(spare, dir_fd=self._folder, follow_symlinks=False).st_size
        while sum(self._spares.values()) > MOST_SPARE:
            self._drop_spare(next(iter(self._spares)))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._folder)

    def _drop_spares(self) -> None:
        for name in list(self._spares):
            self._drop_spare(name)

    def _drop_spare(self, name: str) -> None:
        del self._spares[name]
        self.remove(name)

    # ---- reading -----------------------------------------------------------------------------------------------------

    def take(self, reference: Reference, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """The file's bytes as an array of one's own, which needs just as many. Raises `HandoverLost`."""
        with self._opened(reference.name) as handle:
            if os.fstat(handle).st_size != reference.size:
                raise HandoverLost("A file that was handed over has another size than was said.")
            try:
                array = np.empty(shape, dtype)
                _read(handle, memoryview(array).cast("B"))
            except (OSError, MemoryError) as error:
                raise HandoverLost(f"A file that was handed over cannot be read ({error or 'out of memory'}).") from error
        return array

    def read(self, reference: Reference) -> memoryview:
        """The same as plain bytes."""
        return memoryview(self.take(reference, np.dtype(np.uint8), (reference.size,)))

    def holds(self, reference: Reference) -> bool:
        """Is there such a file, as it should be?"""
        try:
            status = os.stat(reference.name, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return False
        return _ours(status, stat.S_ISREG) and status.st_size == reference.size

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        """A regular file of this user's, which nobody writes meanwhile."""
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._folder)
        except OSError as error:
            raise HandoverLost(f"A file that was handed over is not there ({error.strerror}).") from error
        try:
            self._require_ours(name, handle)
            yield handle
        finally:
            os.close(handle)

    def _require_ours(self, name: str, handle: int) -> None:
        status = os.fstat(handle)
        if not _ours(status, stat.S_ISREG):
            raise HandoverLost("What was handed over is not a file of this user's alone.")
        if NAME.fullmatch(name):
            self._share(name, handle, status.st_ino)

    def _share(self, name: str, handle: int, number: int) -> None:
        """Keep others from writing in it. Who reuses a file renames it first, and only then asks for it alone."""
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            same = os.stat(name, dir_fd=self._folder, follow_symlinks=False).st_ino == number
        except OSError:
            same = False
        if not same:
            raise HandoverLost("A file that was handed over has been taken by somebody else.")


def _ours(status: os.stat_result, kind) -> bool:
    return kind(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & OPEN_TO_OTHERS


def _write(handle: int, data: memoryview) -> None:
    done = 0
    while done < data.nbytes:
        done += os.write(handle, data[done:])


def _read(handle: int, data: memoryview) -> None:
    """Fill the memory from the file's start. Raises `OSError`, after all parts have come to their end."""
    count = max(1, min(MOST_PARTS, os.cpu_count() or 1, data.nbytes // PART_BYTES))
    bounds = [data.nbytes * part // count for part in range(count + 1)]
    parts = [lambda a=a, b=b: _read_part(handle, data[a:b], a) for a, b in itertools.pairwise(bounds)]
    others = [_aside(part) for part in parts[1:]]
    with contextlib.ExitStack() as ends:
        for other in others:
            ends.callback(other)
        parts[0]()


def _read_part(handle: int, data: memoryview, start: int) -> None:
    done = 0
    while done < data.nbytes:
        count = os.preadv(handle, [data[done:]], start + done)
        if not count:
            raise OSError("it is shorter than was said")
        done += count


def _aside(work: Callable[[], Made]) -> Callable[[], Made]:
    """Let a thread do the work; what is returned waits for it, and gives or raises what came of it."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(work).result
    except RuntimeError:  # there is no thread to be had, or the interpreter ends
        return work
    finally:
        pool.shutdown(wait=False)
