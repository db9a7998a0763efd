# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks as data, and one job on one team: wire channels in, a team's run, wire channels out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from blender_addon.wire import ChannelImage, Submit

from . import channels, colour, derive
from .errors import TaskError
from .fitting import Fit, enlarged, fit, resized
from .teamwork.team import Team

OnStep = Callable[[int, int, Callable[[], np.ndarray]], None]
Answer = tuple[dict[str, ChannelImage], dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """What a task takes and makes. `made_from` names, for each derived output, the channels that a team must make for it.

    `looks` is how large the network sees a picture by default, in native sizes: whole, or closely by tiles.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    normals: str
    made_from: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    looks: int = 1


_MAPS = ("albedo", "roughness", "metalness", "normals")
TASKS = {
    task.name: task
    for task in (
        Task("material", ("image", *_MAPS), (*_MAPS, "height"), channels.TANGENT_NORMAL, {"height": ("normals",)}),
        Task(
            "decompose",
            ("image",),
            ("albedo", "diffuseshading", "residual", "normals", "depth", "roughness", "metalness"),
            channels.CAMERA_NORMAL,
            {"residual": ("albedo", "metalness", "diffuseshading")},
            needs=("image",),
        ),
        Task(
            "shade",
            ("image", *_MAPS, "depth"),
            ("image",),
            channels.CAMERA_NORMAL,
            {"image": ("inverseshading",)},
            needs=("albedo",),
            looks=8,
        ),
    )
}
"""Every task by its name."""
OPTIONS = {"seed": (-(2**53), 2**53), "steps": (0, 1000), "size": (0, 16384), "exposure": (-64.0, 64.0)}
"""The least and the most of each option; 0 is each one's default."""


def task_of(job: Submit) -> Task:
    """The task that a job asks for, with all that it needs. Raises `TaskError`."""
    if job.task not in TASKS:
        raise TaskError("unknown-task", f"There is no task {job.task!r}; the tasks are {', '.join(TASKS)}.")
    task = TASKS[job.task]
    for name in job.inputs:
        if name not in task.inputs:
            raise TaskError("bad-input", f"The task {task.name} takes {', '.join(task.inputs)}; {name!r} was given.")
    missing = [name for name in task.needs if name not in job.inputs]
    if missing or not job.inputs:
        raise TaskError("bad-input", f"The task {task.name} needs the channel {(missing or task.inputs)[0]!r}.")
    return task


def outputs_of(task: Task, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The outputs that a job asks for; all, if it names none. Raises `TaskError`."""
    for name in wanted:
        if name not in task.outputs:
            raise TaskError("bad-output", f"The task {task.name} makes {', '.join(task.outputs)}; {name!r} was requested.")
    return tuple(wanted) or task.outputs


class Run:
    """One job on one team."""

    def __init__(self, task: Task, team: Team, job: Submit) -> None:
        self.task, self.team, self.job = task, team, job
        self.fit = self._fit()
        self.wire = {name: ChannelImage(resized(i.data, self.fit.result), i.space) for name, i in job.inputs.items()}
        if "depth" in job.inputs and self.fit.result != job.inputs["depth"].data.shape[:2]:
            raise TaskError("bad-input", "A depth channel cannot be made smaller; render at most 4096 pixels wide.")
        self.exposure = self._exposure()
        self.model = {name: self._to_model(name, image) for name, image in self.wire.items()}

    def _fit(self) -> Fit:
        sizes = {name: image.data.shape[:2] for name, image in self.job.inputs.items()}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name} {w} x {h}" for name, (h, w) in sizes.items())
            raise TaskError("bad-input", f"The given channels differ in size ({listed}); give all in one size.")
        height, width = next(iter(sizes.values()))
        return fit(height, width, int(self._option("size")) or self.task.looks * (self.team.native_size or 512))

    def _option(self, name: str) -> float:
        value, (least, most) = self.job.options.get(name, 0), OPTIONS[name]
        if isinstance(value, (bool, str)) or not least <= value <= most:
            raise TaskError("bad-option", f"The option {name} is {value!r}; expected a number in {least} .. {most}.")
        return value

    def _exposure(self) -> float:
        """What the image is multiplied with before it is encoded; results are divided by it."""
        image = self.wire.get("image")
        automatic = colour.exposure_factor(image.data) if image else 1.0
        return automatic * 2.0 ** float(self._option("exposure"))

    def _to_model(self, name: str, image: ChannelImage) -> np.ndarray:
        if name == "image":
            image = ChannelImage(colour.finite(image.data) * np.float32(self.exposure), image.space)
        return channels.to_model(name, image)

    def run(self, outputs: tuple[str, ...], on_step: OnStep) -> Answer:
        """Make the outputs; those that were given are handed back as they came."""
        answers = self._ask(self._wanted(outputs), on_step)
        info: dict[str, Any] = {"seed": int(self._option("seed")), "steps": self._steps()}
        info |= {"width": self.fit.result[1], "height": self.fit.result[0], "exposure": self.exposure}
        made = {name: self._output(name, answers, info) for name in outputs}
        return made, info

    def rows(self, outputs: tuple[str, ...]) -> int:
        """How many channels the team works on for these outputs, given and wanted ones."""
        return len([name for name in self.model if name in self.team.config.inputs]) + len(self._wanted(outputs))

    def _steps(self) -> int:
        return int(self._option("steps")) or self.team.default_steps

    def _wanted(self, outputs: tuple[str, ...]) -> list[str]:
        """Channels that the team must make: what derived outputs come from, and nothing that was given."""
        needed = [n for name in outputs for n in self.task.made_from.get(name, (name,))]
        needed = [n for n in dict.fromkeys(needed) if n not in self.wire]
        return list(dict.fromkeys(source for n in needed for source in derive.sources(n, self.team.config.outputs)))

    def _ask(self, wanted: list[str], on_step: OnStep) -> dict[str, np.ndarray]:
        """The team's answers at the result's size, in model encoding, beside what was given."""
        given = {name: picture for name, picture in self.model.items() if name in self.team.config.inputs}
        if not given:
            raise TaskError("bad-input", f"This model takes {', '.join(self.team.config.inputs)}; none of them was given.")
        if not wanted:
            return dict(self.model)
        small = {name: resized(picture, self.fit.working) for name, picture in given.items()}
        seed = int(self._option("seed"))
        made = self.team.run(small, wanted, steps=self._steps(), seed=seed, on_step=on_step)
        large = enlarged(made, self.fit.result, self.model.get("image"))
        return derive.metalness_workflow(large) | self.model

    def _output(self, name: str, answers: dict[str, np.ndarray], info: dict[str, Any]) -> ChannelImage:
        if name == "height":
            image, info["height_scale"] = derive.height(answers["normals"])
            return image
        if name == "residual":
            parts = {n: self._output(n, answers, info).data for n in self.task.made_from[name]}
            return derive.residual(self.wire["image"].data, **parts)
        if self.task.name == "shade":
            return derive.shaded(self.wire, answers["inverseshading"], self.exposure)
        if name in self.wire:
            return self.wire[name]
        made = channels.to_wire(name, answers[name], self.task.normals if name == "normals" else None)
        return ChannelImage(made.data / np.float32(self.exposure), made.space) if name == "diffuseshading" else made
