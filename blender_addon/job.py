# SPDX-License-Identifier: GPL-3.0-or-later
"""One job as the panels show it, and the list of this Blender's jobs. No bpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from .wire import Result, Submit

RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"
ERASED_IN = "erased_in"
"""Among the settings: the channel of the image whose own alpha was the mask, "" for none."""

Land = Callable[[Result, "Job"], str]
"""Turns a result into datablocks; gives a line about what was made."""


@dataclass
class Job:
    """One job, as the panel shows it. `line` is a sentence: how far it is, what was made, or why not."""

    submit: Submit
    title: str
    land: Land
    state: str = RUNNING
    line: str = "Waiting"
    factor: float = 0.0
    made: list[str] = field(default_factory=list)
    operator: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    """The operator that sent it ("teamwork.decompose_image") and its properties: enough to send it again."""
    remarks: list[str] = field(default_factory=list)
    """What is to be said about the landing, beside what was made."""
    given_up: bool = False
    """Nobody waits for its result any more: the engine need not keep that."""
    ahead: dict[str, Any] = field(default_factory=dict)
    """By channel, the images (each a `Target`) that are there before the rest lands."""

    @property
    def job_id(self) -> str:
        """The job's name on the wire."""
        return self.submit.job_id

    def fills(self, channel: str) -> bool:
        """Was the mask what is transparent in the image of this channel itself? Then nothing of it is, once that is made anew."""
        return self.settings.get(ERASED_IN) == channel

    def end(self, state: str, line: str) -> None:
        """Nothing more will happen; what is kept as history needs no pixels."""
        self.state, self.line, self.factor = state, line, 0.0
        self.submit = replace(self.submit, inputs={})


JOBS: list[Job] = []
"""Newest last; the ended ones are kept as history."""


def running() -> list[Job]:
    """The jobs that have not ended."""
    return [job for job in JOBS if job.state == RUNNING]
