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
from .session import Session
from .target import Target
from .wire import Result

IN_IMAGES = ("material", "decompose", "synthesize", "shade")
"""Tasks that make one image of each channel, as it comes."""


class Arrival:
    """A job's result on its way into the file; `session` is to be told when it is safe."""

    def __init__(self, job: Job, result: Result, session: Session) -> None:
        self.job, self.result, self.session = job, result, session
        self._channels = deque(result.outputs if job.submit.task in IN_IMAGES else ())
        self._total = len(self._channels)

    def step(self) -> bool:
        """Make the next image; False if there is nothing left to be made ahead."""
        if not self._channels:
            return False
        with suppress(Exception):  # out of memory, say: the landing meets the same, and tells
            self._make(self._channels.popleft())
        done = self._total - len(self._channels)
        self.job.line, self.job.factor = f"Unpacking {done}/{self._total}", done / self._total
        return True

    def _make(self, channel: str) -> None:
        image = images.create(f"{self.job.title} {channel}", self.result.outputs[channel].data, channel)
        self.job.ahead[channel] = Target.of_datablock(image, "images")


ARRIVED: deque[Arrival] = deque()
"""Oldest first."""


def drop_unused(job: Job) -> None:
    """Remove the images that the landing did not take."""
    for target in job.ahead.values():
        image = target.find()
        if image is not None:
            bpy.data.images.remove(image)
    job.ahead.clear()
