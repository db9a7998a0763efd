# SPDX-License-Identifier: GPL-3.0-or-later
"""A client's or a worker's part in handing files over: the folder, once it is agreed on, and what was read there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .errors import HandoverLost
from .frames import Envelope, LayDown
from .handover import Folder
from .reference import Reference


class Exchange:
    """Nothing is handed over until `agree` has found a folder. `lost` names the jobs whose files could not be read."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self._folder: Folder | None = None
        self._taken: dict[str, list[str]] = {}

    def agree(self, path: str, proves: Callable[[str], bool]) -> None:
        """Use the folder at `path`, if it is there, this user's alone, and `proves` says that its proof is right."""
        folder = None
        try:
            folder = Folder(path)
            if proves(folder.proof()):
                self._folder, folder = folder, None
        except HandoverLost:
            pass  # the engine is elsewhere, or another user's
        finally:
            if folder is not None:
                folder.close()

    def leave(self) -> None:
        """Hand nothing over any more."""
        if self._folder is not None:
            self._folder.close()
        self._folder = None
        self._taken.clear()

    @property
    def lay_down(self) -> LayDown | None:
        """What puts buffers into files; None while there is no folder."""
        return self._folder and self._folder.lay_down

    def take(self, reference: Reference, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """The array of a reference. Raises `HandoverLost`."""
        if self._folder is None:
            raise HandoverLost("There is no folder in which files are handed over.")
        return self._folder.take(reference, dtype, shape)

    def note(self, envelope: Envelope) -> None:
        """Remember which files a job or a result came in."""
        if envelope.files:
            self._taken[envelope.message.job_id] = [file.name for file in envelope.files.values()]

    def recycle(self, job_id: str, leave: bool = False) -> None:
        """What was read is safe: its files are nobody's any more or, with `leave`, soon will be."""
        for name in self._taken.pop(job_id, []):
            if self._folder is not None:
                self._folder.recycle(name, leave)
