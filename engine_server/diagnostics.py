# SPDX-License-Identifier: GPL-3.0-or-later
"""The task `echo`: exercises the whole way of a job, without a model."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from blender_addon.wire import ChannelImage, Submit
from engine_server.errors import TaskError

PREVIEW_SIDE = 64

OnStep = Callable[[int, int, Callable[[], np.ndarray]], None]


def echo(job: Submit, on_step: OnStep) -> tuple[dict[str, ChannelImage], dict]:
    """Give the inputs back after options["steps"] (1) steps of options["seconds_per_step"] (0) seconds.

    `outputs` chooses among the inputs. Raises `TaskError` for an output that is no input, and for unfit options.
    """
    steps = _number(job, "steps", 1, 10_000)
    pause = _number(job, "seconds_per_step", 0, 3600)
    wanted = job.outputs or tuple(job.inputs)
    for name in wanted:
        if name not in job.inputs:
            raise TaskError("bad-input", f"echo has no {name!r} to give back; it was given {', '.join(job.inputs) or 'nothing'}.")
    for step in range(1, int(steps) + 1):
        time.sleep(pause)
        on_step(step, int(steps), lambda: _preview(job))
    return {name: job.inputs[name] for name in wanted}, {"steps": int(steps)}


def _number(job: Submit, name: str, default: float, most: float) -> float:
    value = job.options.get(name, default)
    if isinstance(value, (bool, str)) or not 0 <= value <= most:
        raise TaskError("bad-input", f"echo's option {name} is {value!r}; expected a number in 0 .. {most}.")
    return value


def _preview(job: Submit) -> np.ndarray:
    """The first input, thinned out to at most 64 pixels a side: H x W x 3 in 0..1."""
    if not job.inputs:
        return np.zeros((1, 1, 3), np.float32)
    data = next(iter(job.inputs.values())).data
    stride = -(-max(data.shape[:2]) // PREVIEW_SIDE)
    small = data[::stride, ::stride]
    colour = small[..., :3] if small.shape[2] >= 3 else small[..., :1].repeat(3, axis=2)
    return np.clip(np.nan_to_num(colour), 0.0, 1.0)
