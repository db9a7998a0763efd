# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks as data, and what runs them: wire channels in, a team's run, wire channels out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from blender_addon.wire import ChannelImage, Submit

from . import channels, colour, derive
from .errors import TaskError
from .fitting import Fit, enlarged, fit, resized
from .library import Located, Unavailable, locate
from .models import adapter_for, is_team
from .teamwork import TeamError, load_team
from .teamwork.team import Team

OnStep = Callable[[int, int, Callable[[], np.ndarray]], None]


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


class TaskRunner:
    """Runs tasks on one device and keeps the last model's teams warm."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self._warm: dict[tuple[str, str | None], Team] = {}

    def run(self, job: Submit, on_step: OnStep) -> tuple[dict[str, ChannelImage], dict[str, Any]]:
        """Run one job; returns its output channels and what should be remembered of it (seed, steps, model, seconds ...).

        `on_step(step, total, preview)` is called after each denoising step; what it raises ends the run. Raises
        `TaskError` with a code and a sentence for every mistake of the job.
        """
        started = time.monotonic()
        task = _task(job)
        outputs = _outputs(task, job.outputs)
        try:
            team = self._team(job.model, job.task)
            loaded = time.monotonic()
            answer, info = _Run(task, team, job).run(outputs, on_step)
        except TeamError as error:
            raise TaskError("bad-request", str(error)) from error
        info |= {"model": job.model, "model_hash": team.fingerprint, "seconds": round(time.monotonic() - started, 3)}
        info["loading"] = round(loaded - started, 3)
        return answer, info

    def _team(self, model: str, task: str) -> Team:
        """The model's team for a task; a model's teams stay warm until another model is asked for."""
        place = _located(model, task)
        if any(key[0] != place.base for key in self._warm):
            self.unload()
        if (place.base, place.adapter) not in self._warm:
            self._warm[place.base, place.adapter] = load_team(place.base, place.adapter, device=self.device)
        return self._warm[place.base, place.adapter]

    def unload(self) -> None:
        """Let the warm teams go."""
        self._warm.clear()


def _located(model: str, task: str) -> Located:
    """Where a model is, given by its name or as a team's folder."""
    if Path(model).is_absolute() and is_team(Path(model)):
        return Located(model, adapter_for(model, task))
    try:
        return locate(model, task)
    except Unavailable as error:
        raise TaskError(error.code, str(error)) from error


def _task(job: Submit) -> Task:
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


def _outputs(task: Task, wanted: tuple[str, ...]) -> tuple[str, ...]:
    for name in wanted:
        if name not in task.outputs:
            raise TaskError("bad-output", f"The task {task.name} makes {', '.join(task.outputs)}; {name!r} was requested.")
    return tuple(wanted) or task.outputs


class _Run:
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

    def run(self, outputs: tuple[str, ...], on_step: OnStep) -> tuple[dict[str, ChannelImage], dict[str, Any]]:
        """Make the outputs; those that were given are handed back as they came."""
        answers = self._ask(self._wanted(outputs), on_step)
        info: dict[str, Any] = {"seed": int(self._option("seed")), "steps": self._steps()}
        info |= {"width": self.fit.result[1], "height": self.fit.result[0], "exposure": self.exposure}
        made = {name: self._output(name, answers, info) for name in outputs}
        return made, info

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
