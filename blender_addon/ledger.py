# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that are under way, on disk: a Blender that was closed or crashed leaves word of them for the next one. No bpy.

    <home>/jobs/<blender>/lock          held by the Blender whose jobs they are, for as long as it lives
    <home>/jobs/<blender>/<job>.json    one `Entry`

The system lifts the lock of a process that has ended, however it ended. Then the next Blender takes the entries over.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .environment.place import lock_file
from .wire import CredentialsError, home_folder
from .wire.home import private_folder, write_private

LONGEST_DAYS = 30.0


@dataclass(frozen=True)
class Entry:
    """A job: which engine has it (its public key), for which .blend file ("" for one without a name), and what for."""

    job_id: str
    engine: str
    blend: str
    title: str
    task: str
    model: str
    name: str
    source: str
    seed: int = 0
    steps: int = 0
    size: int = 0
    time: float = 0.0
    operator: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """The entries of this Blender. Its folder is made with the first of them; nothing here ever raises for a full disk."""

    def __init__(self, home: Path | str | None = None) -> None:
        self._folder = home_folder(home) / "jobs"
        self._own = self._folder / uuid.uuid4().hex
        self._lock = None

    def note(self, entry: Entry) -> None:
        """The job is under way."""
        with contextlib.suppress(OSError, CredentialsError):
            self._open()
            entry = replace(entry, time=entry.time or time.time())
            write_private(self._own / f"{entry.job_id}.json", json.dumps(asdict(entry)) + "\n")

    def forget(self, job_id: str) -> None:
        """The job's end is here, and safe."""
        with contextlib.suppress(OSError):
            (self._own / f"{job_id}.json").unlink(missing_ok=True)

    def left_behind(self) -> list[Entry]:
        """The jobs of Blenders that are no more, oldest first. They are this one's from now on."""
        with contextlib.suppress(OSError, CredentialsError):
            for folder in self._abandoned():
                self._take_over(folder)
        return sorted(self._entries(), key=lambda entry: entry.time)

    def close(self) -> None:
        """Leave what is there to the next Blender, as when this one is closed."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            with contextlib.suppress(OSError):
                (self._own / "lock").unlink()
                self._own.rmdir()  # only if nothing is left

    def _open(self) -> None:
        if self._lock is None:
            private_folder(self._folder)
            private_folder(self._own)
            self._lock = lock_file(self._own / "lock")

    def _abandoned(self) -> Iterator[Path]:
        """The folders of other Blenders that nobody holds; each is held here while it is looked at."""
        folders = [each for each in self._folder.iterdir() if each.is_dir() and each != self._own]
        for folder in folders:
            try:
                lock = lock_file(folder / "lock")
            except OSError:
                continue  # that Blender lives
            with lock:
                yield folder
            shutil.rmtree(folder, ignore_errors=True)

    def _take_over(self, folder: Path) -> None:
        self._open()
        for file in folder.glob("*.json"):
            os.replace(file, self._own / file.name)

    def _entries(self) -> Iterator[Entry]:
        for file in self._own.glob("*.json"):
            try:
                entry = Entry(**json.loads(file.read_text("utf-8")))
            except (OSError, ValueError, TypeError):
                file.unlink(missing_ok=True)  # of another version of this add-on
                continue
            if time.time() - entry.time < LONGEST_DAYS * 86400:
                yield entry
            else:
                file.unlink(missing_ok=True)
