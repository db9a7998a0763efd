# SPDX-License-Identifier: GPL-3.0-or-later
"""What a session tells the main thread. No bpy."""

from __future__ import annotations

from dataclasses import dataclass

from .wire import JobInfo, Progress, Result, Welcome


@dataclass(frozen=True)
class Connected:
    """The engine answers; `welcome` says what it is."""

    welcome: Welcome


@dataclass(frozen=True)
class Listed:
    """The jobs of our key that the engine held when we connected; some may be of an earlier Blender."""

    jobs: tuple[JobInfo, ...]


@dataclass(frozen=True)
class Lost:
    """The engine does not answer, or not as it should; the session is over. `mismatch`: it is of another release."""

    sentence: str
    mismatch: bool = False


@dataclass(frozen=True)
class JobProgress:
    """A step of a job is done."""

    progress: Progress


@dataclass(frozen=True)
class JobDone:
    """A job's images are here; acknowledge them once they are safe."""

    result: Result


@dataclass(frozen=True)
class JobEnded:
    """A job ended without images: `code` is the engine's, or "cancelled" or "lost"."""

    job_id: str
    code: str
    sentence: str


@dataclass(frozen=True)
class Unloaded:
    """The answer to `unload`: a sentence, and whether the memory is free."""

    done: bool
    sentence: str


Event = Connected | Listed | Lost | JobProgress | JobDone | JobEnded | Unloaded
