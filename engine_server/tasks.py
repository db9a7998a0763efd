# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks as data, and what a job asks of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from blender_addon.wire import Submit

from . import channels, given
from .abilities import INPAINT, SYNTHESIZE
from .errors import TaskError
from .fitting import LARGEST_RESULT


@dataclass(frozen=True)
class Task:
    """What a task takes and makes. `made_from` names, for each derived output, the channels that a team must make for it.

    A picture whose bright parts are darker than `least_light` is shown to the team as bright as that; light in its results is darkened
    again.
    `looks` is how large the network sees a picture by default, in native sizes: whole, or closely by tiles. The picture of a
    `surface` may tile, be lit by a flash, and come with maps of other sizes. A task may need no channels at all
    (`from_nothing`), and one that `remakes` channels makes those that are given, if it is not told which.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    normals: str
    made_from: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    looks: int = 1
    least_light: float = 0.0
    surface: bool = False
    from_nothing: bool = False
    remakes: bool = False


LEAST_LIGHT = 0.25
"""Pictures of scenes that teams were trained on are rarely darker, and how bright one is, is only its exposure."""
LEAST_OF_SURFACES = 0.05
"""The photo of a black surface is as dark as this, rightly exposed, and its albedo is to stay dark. Teams take darker ones for metal."""
_MAPS = ("albedo", "roughness", "metalness", "normals")
_PARTS = (*_MAPS, "depth", "diffuseshading")
TASKS = {
    task.name: task
    for task in (
        Task(
            "material",
            ("image", *_MAPS, "height"),
            (*_MAPS, "height"),
            channels.TANGENT_NORMAL,
            {"height": ("normals",)},
            least_light=LEAST_OF_SURFACES,
            surface=True,
        ),
        Task(
            "decompose",
            ("image",),
            ("albedo", "diffuseshading", "residual", "normals", "depth", "roughness", "metalness"),
            channels.CAMERA_NORMAL,
            {"residual": ("albedo", "metalness", "diffuseshading")},
            needs=("image",),
            least_light=LEAST_LIGHT,
        ),
        Task(
            "shade",
            ("image", *_MAPS, "depth"),
            ("image",),
            channels.CAMERA_NORMAL,
            {"image": ("inverseshading",)},
            needs=("albedo",),
            looks=8,
            least_light=LEAST_LIGHT,
        ),
        Task(
            SYNTHESIZE,
            ("image", *_PARTS, "height"),
            ("image", *_PARTS, "height"),
            channels.CAMERA_NORMAL,
            {"height": ("normals",)},
            from_nothing=True,
        ),
        Task(
            INPAINT,
            ("mask", "image", *_PARTS, "height"),
            ("image", *_PARTS, "height"),
            channels.TANGENT_NORMAL,
            {"height": ("normals",)},
            needs=("mask",),
            remakes=True,
        ),
    )
}
"""Every task by its name."""
OPTIONS = {
    "seed": (-(2**53), 2**53),
    "steps": (0, 1000),
    "size": (0, 16384),
    "exposure": (-64.0, 64.0),
    "seamless": (0, given.KEPT),
    "fov": (0.0, 170.0),
    "height_scale": (0.0, 10.0),
    "vary": (0, 1),
    "width": (0, LARGEST_RESULT),
    "height": (0, LARGEST_RESULT),
    "surface": (0, 1),
    "guidance": (0.0, 100.0),
    "repeats": (0, 50),
}
"""The least and the most of each option; 0 is each one's default. `fov` is the vertical field of view, in degrees, of a
camera with a flash beside its lens (0: no flash), `height_scale` the range of a given height map in widths of the picture.
`vary`: the seed shall make a difference. `width` and `height` are of what is made from nothing, `surface`: that shall be a
material's maps. `repeats`: how often each step of inpainting is taken."""
TEXTS = ("prompt", "negative_prompt")
"""The options that are texts."""
USUAL_SIDE = 512
"""The side in pixels at which a team works, where neither the job nor the team tells another."""
OF_SURFACES = ("seamless", "fov", "height_scale")


def task_of(job: Submit) -> Task:
    """The task that a job asks for, with all that it needs. Raises `TaskError`."""
    if job.task not in TASKS:
        raise TaskError("unknown-task", f"There is no task {job.task!r}; the tasks are {', '.join(TASKS)}.")
    task = TASKS[job.task]
    for name in job.inputs:
        if name not in task.inputs:
            raise TaskError("bad-input", f"The task {task.name} takes {', '.join(task.inputs)}; {name!r} was given.")
    missing = [name for name in task.needs if name not in job.inputs]
    if missing or not (job.inputs or task.from_nothing):
        raise TaskError("bad-input", f"The task {task.name} needs the channel {(missing or task.inputs)[0]!r}.")
    return task


def outputs_of(task: Task, job: Submit) -> tuple[str, ...]:
    """The outputs that a job asks for; if it names none, all, or those that shall be made anew. Raises `TaskError`."""
    for name in job.outputs:
        if name not in task.outputs:
            raise TaskError("bad-output", f"The task {task.name} makes {', '.join(task.outputs)}; {name!r} was requested.")
    usual = tuple(name for name in task.outputs if name in job.inputs) if task.remakes else task.outputs
    return job.outputs or usual
