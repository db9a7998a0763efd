# SPDX-License-Identifier: GPL-3.0-or-later
"""The seconds that a job is expected to take on the engine that is connected, and what past jobs have taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .engine import LINK
from .job import Job
from .timing import Timings, work_of
from .wire import Result


class Known:
    """Past jobs, read when they are asked for first."""

    timings: Timings | None = None


def timings() -> Timings:
    """What is known."""
    if Known.timings is None:
        Known.timings = Timings()
    return Known.timings


def _key(model: str, task: str) -> str:
    return f"{LINK.welcome.device} {LINK.engine_key} {model} {task}"


def seconds(
    task: str, model: str, outputs: Sequence[str], options: Mapping[str, int], size: tuple[int, int], inputs: int = 1
) -> float | None:
    """For a picture of `size` (width, height); None if there is no engine yet, or no such job before."""
    offered = LINK.model(model)
    if offered is None:
        return None
    return timings().expected(_key(model, task), work_of(task, inputs, outputs, options, size, offered))


def note(job: Job, result: Result) -> None:
    """Learn from a job. One of an earlier Blender came without its pictures' sizes."""
    sent = job.submit
    offered, taken = LINK.model(sent.model), result.info.get("seconds")
    if offered is None or not sent.inputs or not isinstance(taken, (int, float)):
        return
    height, width = next(iter(sent.inputs.values())).data.shape[:2]
    options = {name: int(sent.options.get(name, 0)) for name in ("size", "steps", "seamless")}
    work = work_of(sent.task, len(sent.inputs), sent.outputs, options, (width, height), offered)
    timings().note(_key(sent.model, sent.task), work, max(0.01, taken - float(result.info.get("loading", 0.0))))


def close() -> None:
    """Read them anew next time."""
    Known.timings = None
