# SPDX-License-Identifier: GPL-3.0-or-later
"""A message of a client, as the server has it before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass

from blender_addon.wire import Envelope

from .handover import Handover, size_of
from .queue import Job


@dataclass(frozen=True)
class Request:
    """A client's message: whose it is (public key), which connection it came by, its frames, its size in bytes."""

    owner: str
    route: bytes
    frames: list
    envelope: Envelope

    @property
    def size(self) -> int:
        """Bytes of the whole message, with those in files."""
        return size_of(self.frames) + sum(file.size for file in self.envelope.files.values())

    def near(self, handover: Handover | None) -> bool:
        """Has this connection proven that it can read files that the engine leaves?"""
        return handover is not None and handover.near(self.owner, self.route)

    def claimed(self, handover: Handover | None) -> list | None:
        """The frames, whose files are the engine's from now on; None if those are not to be had."""
        if not self.envelope.files:
            return self.frames
        return handover.carried(self.frames, self.envelope.files) if self.near(handover) else None

    def job(self, frames: list, digest: bytes, handover: Handover | None) -> Job:
        """The job that a submission is, with its claimed frames."""
        asked, files = self.envelope.message, tuple(file.name for file in self.envelope.files.values())
        told = {"model": asked.model, "files": files, "near": self.near(handover)}
        return Job(self.owner, asked.job_id, asked.task, self.route, frames, self.size, digest, **told)
