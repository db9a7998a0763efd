# SPDX-License-Identifier: GPL-3.0-or-later
"""The seconds that a job is expected to take on the engine that is connected, and what past jobs have taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .engine import LINK
from .job import Job
from .timing import Timings, work_of
from .wire import Result


INPAINT = "inpaint"
"""The one task that makes anew what it is given."""


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
    offered, taken, size = LINK.model(sent.model), result.info.get("seconds"), _size(job, result)
    if offered is None or size is None or not isinstance(taken, (int, float)):
        return
    options = {name: int(sent.options.get(name, 0)) for name in ("size", "steps", "seamless", "repeats")}
    if not sent.inputs:
        options["size"] = options["size"] or max(size)
    made = sent.outputs or tuple(name for name in result.outputs if name not in sent.inputs or sent.task == INPAINT)
    work = work_of(sent.task, len(sent.inputs), made, options, size, offered)
    timings().note(_key(sent.model, sent.task), work, max(0.01, taken - float(result.info.get("loading", 0.0))))


def _size(job: Job, result: Result) -> tuple[int, int] | None:
    """Width and height of what was given, or of what was made from nothing."""
    given = job.submit.inputs or (result.outputs if "width" in job.submit.options else {})
    shapes = [image.data.shape for image in given.values()]
    return (shapes[0][1], shapes[0][0]) if shapes else None


def close() -> None:
    """Read them anew next time."""
    Known.timings = None
