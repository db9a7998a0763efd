# SPDX-License-Identifier: GPL-3.0-or-later
"""Results that are here and not yet datablocks: at 4K their pixels take Blender a second, so that each image gets a turn of
the timer of its own before all of them land together.

Between two turns the user may undo, load another file or delete them: no datablock is held, and one that is gone by the
time of the landing is made anew there.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress

import bpy

from . import images
from .job import Job
from .rewriting import Rewriting
from .session import COPIED, Session
from .target import Target
from .wire import Result

IN_IMAGES = ("material", "decompose", "synthesize", "shade", "inpaint")
"""Tasks that make one image of each channel."""
PATIENCE = 0.002
"""Seconds that one turn waits for another thread."""


class Arrival:
    """A job's result on its way into the file; `session` is to be told when it is safe."""

    def __init__(self, job: Job, result: Result, session: Session) -> None:
        self.job, self.result, self.session = job, result, session
        self._copies: dict[str, Target] = getattr(job.land, "keywords", {}).get("old") or {}
        task = job.submit.task
        ahead = task in IN_IMAGES and (task not in COPIED or self._copies)  # of an earlier Blender's the landing finds the originals
        self._channels = deque(result.outputs if ahead else ())
        self._total = len(self._channels)
        self._copy: Rewriting | None = None

    def step(self) -> bool:
        """Make the next image, or wait a little for it; False if there is nothing left to be made ahead."""
        if not self._channels:
            return False
        with suppress(Exception):  # out of memory, say: the landing meets the same, and tells
            if not self._made():
                return True
        self._channels.popleft()
        self._copy = None
        done = self._total - len(self._channels)
        self.job.line, self.job.factor = f"Unpacking {done}/{self._total}", done / self._total
        return True

    def _made(self) -> bool:
        """Is the image of the next channel there? It takes several turns if it is a copy of another one."""
        channel, title = self._channels[0], f"{self.job.title} {self._channels[0]}"
        values, original = self.result.outputs[channel].data, self._original(channel)
        if self._copy is None and original is not None:
            self._copy = Rewriting(original, values, channel, self.job.fills(channel))
            return False
        if self._copy is not None and not self._copy.ready(PATIENCE):
            return False
        image = self._copy.image(title) if self._copy is not None else images.create(title, values, channel)
        self.job.ahead[channel] = Target.of_datablock(image, "images")
        return True

    def _original(self, channel: str) -> bpy.types.Image | None:
        """What the image of a channel is a copy of, if it is one and the other is still there."""
        return self._copies[channel].find() if self._copy is None and channel in self._copies else None


ARRIVED: deque[Arrival] = deque()
"""Oldest first."""


def drop_unused(job: Job) -> None:
    """Remove the images that the landing did not take."""
    for target in job.ahead.values():
        image = target.find()
        if image is not None:
            bpy.data.images.remove(image)
    job.ahead.clear()
