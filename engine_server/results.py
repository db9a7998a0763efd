# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the ends of jobs until their client has acknowledged them: in memory up to a budget, then on disk.

Files are written by a thread of their own and read through memory maps, so that the server never waits for a disk. They
have no name on POSIX and are deleted on closing elsewhere, so that nothing is left behind when the server is killed. Images
that a worker has handed over in files of the memory stay there, and count like any others.
"""

from __future__ import annotations

import logging
import math
import mmap
import tempfile
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blender_addon.wire import HandoverLost

from .handover import Carried, discard, size_of, whole

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Kept:
    frames: Sequence[Any]
    size: int
    since: float = field(default_factory=time.monotonic)
    writing: Future | None = None
    on_disk: bool = False
    unwritable: bool = False


class ResultStore:
    """Frames by key. `most_memory` and `most_disk` are bytes, `most` the number of entries, `seconds` their time; the oldest go first."""

    def __init__(self, folder: Path, most_memory: int, most_disk: int, most: int, seconds: float = math.inf) -> None:
        self._seconds = seconds
        self._folder, self._most_memory, self._most_disk, self._most = folder, most_memory, most_disk, most
        self._kept: dict[Hashable, _Kept] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="results")

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes of all that is kept, in memory and on disk."""
        return sum(kept.size for kept in self._kept.values())

    @property
    def in_memory(self) -> int:
        """Bytes of what is kept in memory."""
        return sum(kept.size for kept in self._kept.values() if not kept.on_disk)

    def put(self, key: Hashable, frames: Sequence[Any]) -> None:
        """Keep the frames (anything with a buffer) under `key`."""
        self._kept[key] = _Kept(frames, size_of(frames))
        self.settle()

    def get(self, key: Hashable) -> Sequence[Any] | None:
        """The frames kept under `key`; None if they were dropped or never there."""
        kept = self._kept.get(key)
        return kept.frames if kept else None

    def drop(self, key: Hashable) -> None:
        """Forget the frames kept under `key`. A file goes when the last message that still sends from it has left."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            discard(kept.frames)

    def fresh(self, seconds: float) -> bool:
        """Is there a result in files of the memory that its client has had so few seconds to read?"""
        since = time.monotonic() - seconds
        return any(kept.since > since and isinstance(kept.frames, Carried) for kept in self._kept.values())

    def settle(self) -> None:
        """Take over what has been written, write what is too much for memory, forget what is too much at all."""
        for kept in self._kept.values():
            if kept.writing and kept.writing.done():
                self._take_over(kept)
        self._write_surplus()
        self._forget_surplus()

    def _take_over(self, kept: _Kept) -> None:
        try:
            written = kept.writing.result()
            discard(kept.frames)
            kept.frames, kept.on_disk = written, True
        except (OSError, HandoverLost) as error:
            kept.unwritable = True  # trying again each time would write gigabytes for nothing
            log.warning("a result stays in memory: it cannot be written to %s (%s)", self._folder, error)
        kept.writing = None

    def _write_surplus(self) -> None:
        surplus = self.in_memory - self._most_memory
        for kept in self._kept.values():
            if surplus <= 0:
                return
            if not (kept.on_disk or kept.unwritable):
                surplus -= kept.size
                kept.writing = kept.writing or self._writer.submit(_write, self._folder, kept.frames)

    def _forget_surplus(self) -> None:
        while self._kept and self._oldest().since < time.monotonic() - self._seconds:
            log.info("a result that nobody fetched was dropped: its time is up")
            self.drop(next(iter(self._kept)))
        while len(self._kept) > self._most or self.size > self._most_memory + self._most_disk:
            key = next(iter(self._kept))
            log.warning("a result that nobody fetched was dropped: newer ones need its room")
            self.drop(key)
        self._forget_stuck()

    def _forget_stuck(self) -> None:
        """What no disk takes has the room that memory was meant to give, but for the newest."""
        stuck = {key: kept.size for key, kept in self._kept.items() if kept.unwritable}
        while len(stuck) > 1 and sum(stuck.values()) > self._most_memory:
            log.warning("a result that nobody fetched was dropped: it cannot be written to %s, and memory is short", self._folder)
            key = next(iter(stuck))
            stuck.pop(key)
            self.drop(key)

    def _oldest(self) -> _Kept:
        return next(iter(self._kept.values()))

    def close(self) -> None:
        """Forget everything."""
        self._writer.shutdown(cancel_futures=True)
        self._kept.clear()


def _write(folder: Path, frames: Sequence[Any]) -> list[memoryview]:
    """The same frames as views into a mapped temporary file."""
    sizes = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for view in whole(frames):
            file.write(view)
            sizes.append(view.nbytes)
        file.flush()
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    slices, start = [], 0
    for size in sizes:
        slices.append(mapped[start : start + size])
        start += size
    return slices
