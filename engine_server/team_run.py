# SPDX-License-Identifier: GPL-3.0-or-later
"""One job on one team: wire channels in, a team's run, wire channels out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from blender_addon.wire import ChannelImage, Submit

from . import channels, colour, derive, given
from .errors import TaskError
from .fitting import Fit, enlarged, fit, resized
from .pace import Labour
from .tasks import OF_SURFACES, OPTIONS, USUAL_SIDE, Task

if TYPE_CHECKING:
    from .teamwork.team import Team  # which imports torch

OnStep = Callable[[int, int, Callable[[], np.ndarray]], None]
Answer = tuple[dict[str, ChannelImage], dict[str, Any]]

LIT = ("image", "diffuseshading")
"""Channels in units of light, which keep their proportion under any exposure."""


class Run:
    """One job on one team."""

    def __init__(self, task: Task, team: Team, job: Submit) -> None:
        self.task, self.team, self.job, self.manner = task, team, job, team.manner(task.name)
        self.periodic, self.labour = bool(self._option("seamless")), Labour()
        self.height_scale, self.covers = float(self._option("height_scale")), 1.0
        self.wire = self._wire()
        self.fit = self._fit()
        self.exposure = self._exposure()
        self.model = {name: self._to_model(name, image) for name, image in self.wire.items()}

    def _wire(self) -> dict[str, ChannelImage]:
        return self._surface() if self.task.surface else self._scene()

    def _scene(self) -> dict[str, ChannelImage]:
        """The given channels as they are, at most as large as a result can be."""
        told = [name for name in OF_SURFACES if self._option(name)]
        if told:
            raise TaskError("bad-option", f"The task {self.task.name} has no option {told[0]}: that is for surfaces.")
        inputs = self.job.inputs
        if len({image.data.shape[:2] for image in inputs.values()}) > 1:
            sentence = f"The given channels differ in size ({given.sizes_in_words(inputs)}); give all in one size."
            raise TaskError("bad-input", sentence)
        made = given.limited(inputs)
        if "depth" in inputs and made["depth"].data.shape != inputs["depth"].data.shape:
            raise TaskError("bad-input", "A depth channel cannot be made smaller; render at most 4096 pixels wide.")
        return made

    def _surface(self) -> dict[str, ChannelImage]:
        """The given channels of a surface, with what follows from them; as a tile, if one is wanted."""
        made = given.limited(given.opaque(given.at_one_size(self.job.inputs)))
        if self._option("fov") and "halfway" in self.team.config.inputs:
            made = given.with_flash(made, float(self._option("fov")))
        if self._option("seamless") == given.CUT:
            before, made = made, given.as_tile(made)
            self.covers = given.width_of(made) / given.width_of(before)
            self.height_scale /= self.covers  # as high as before, but of a narrower picture
        return given.with_normals(made, self.height_scale, self.periodic)

    def _fit(self) -> Fit:
        height, width = next(iter(self.wire.values())).data.shape[:2]
        side = int(self._option("size")) or self.task.looks * (self.team.native_size or USUAL_SIDE)
        return fit(height, width, side, self.team.base.multiple if self.periodic else 1)

    def _option(self, name: str) -> float:
        value, (least, most) = self.job.options.get(name, 0), OPTIONS[name]
        if isinstance(value, (bool, str)) or not least <= value <= most:
            raise TaskError("bad-option", f"The option {name} is {value!r}; expected a number in {least} .. {most}.")
        return value

    def _text(self, name: str) -> str:
        value = self.job.options.get(name, "")
        if not isinstance(value, str):
            raise TaskError("bad-option", f"The option {name} is {value!r}; expected a text.")
        return value.strip()

    def _exposure(self) -> float:
        """What light, that is `LIT`, is multiplied with before it is encoded; results are divided by it."""
        image = self.wire.get("image")
        least = self.task.least_light
        automatic = colour.exposure_factor(channels.three_components(image.data), least=least) if image else 1.0
        return automatic * 2.0 ** float(self._option("exposure"))

    def _to_model(self, name: str, image: ChannelImage) -> np.ndarray:
        if name in LIT:
            image = ChannelImage(colour.finite(image.data) * np.float32(self.exposure), image.space)
        return channels.to_model(name, image)

    def run(self, outputs: tuple[str, ...], on_step: OnStep) -> Answer:
        """Make the outputs; those that were given are handed back as they came. Where the job names none: what the team can."""
        outputs = self._named(outputs)
        answers = self._ask(self._wanted(outputs), on_step)
        info: dict[str, Any] = {"seed": int(self._option("seed")), "steps": self._steps()}
        info |= {"width": self.fit.result[1], "height": self.fit.result[0], "covers": self.covers, "exposure": self.exposure}
        info |= {"note": note} if (note := self._note()) else {}
        made = {name: self._output(name, answers, info) for name in outputs}
        return made, info

    def _note(self) -> str:
        """What the user should know of how this team takes the job; mostly nothing."""
        by_normals = {"height"} if "normals" not in self.job.inputs else set()  # which are made of it
        looks = {*self.team.config.inputs, "mask"} | (by_normals if "normals" in self.team.config.inputs else set())
        unseen = [name for name in self.job.inputs if name not in looks]
        notes = [f"this model does not look at {', '.join(unseen)}"] if unseen else []
        if self._option("fov") and "halfway" not in self.team.config.inputs:
            notes.append("the flash makes no difference to this model")
        if self._steps() < int(self._option("steps")):
            notes.append(f"this model takes at most {self.team.most_steps} {'step' if self.team.most_steps == 1 else 'steps'}")
        if self._option("vary") and self.manner.zero_start and self._steps() == 1:
            notes.append("this model answers alike for every seed in one step")
        return "; ".join(notes)

    def rows(self, outputs: tuple[str, ...]) -> int:
        """How many channels the team works on for these outputs, given and wanted ones."""
        wanted = self._wanted(self._named(outputs))
        return len([name for name in self.model if name in self.team.config.inputs]) + self._made_rows(wanted)

    def _named(self, outputs: tuple[str, ...]) -> tuple[str, ...]:
        """The outputs, or of the usual ones those that can be made; all where none can, for a sentence that says so."""
        usual = self._usual(outputs)
        return outputs if self.job.outputs else tuple(filter(self._can_make, usual)) or usual

    def _usual(self, outputs: tuple[str, ...]) -> tuple[str, ...]:
        """Those of a task's outputs that are made where none are named."""
        return outputs

    def _can_make(self, name: str) -> bool:
        parts = (name,) if name in self.wire else self.task.made_from.get(name, (name,))
        return all(part in self.wire or derive.found(part, self.team.config.outputs) for part in parts)

    def _made_rows(self, wanted: list[str]) -> int:
        return len({*wanted, *self.team.always})

    def _steps(self) -> int:
        """As asked; by default the team's own, and where the seed shall matter, at least so many that it does."""
        least = 2 if self._option("vary") and self.manner.zero_start else 1
        steps = int(self._option("steps")) or max(self.manner.steps, least)
        return min(steps, self.team.most_steps or steps)

    def _how(self) -> dict[str, Any]:
        """How the team goes about it: settings of `Team.run`."""
        own = {"zero_start": self.manner.zero_start, "solver": self.manner.solver}
        return {"steps": self._steps(), "seed": int(self._option("seed")), "periodic": self.periodic} | own

    def _wanted(self, outputs: tuple[str, ...]) -> list[str]:
        """Channels that the team must make: what derived outputs come from, and nothing that was given."""
        needed = [n for name in outputs for n in self.task.made_from.get(name, (name,))]
        needed = [n for n in dict.fromkeys(needed) if n not in self.wire]
        return list(dict.fromkeys(source for n in needed for source in derive.sources(n, self.team.config.outputs)))

    def _ask(self, wanted: list[str], on_step: OnStep) -> dict[str, np.ndarray]:
        """The team's answers at the result's size, in model encoding, beside what was given."""
        seen = {name: picture for name, picture in self.model.items() if name in self.team.config.inputs}
        if not seen and not self.task.from_nothing:
            raise TaskError("bad-input", f"This model takes {', '.join(self.team.config.inputs)}; none of them was given.")
        if not wanted:
            return dict(self.model)
        small = {name: resized(picture, self.fit.working, self.periodic) for name, picture in seen.items()}
        made = self._computed(small, wanted, on_step)
        large = enlarged(made, self.fit.result, self.model.get("image"), self.periodic)
        return derive.metalness_workflow(large) | self.model

    def _computed(self, pictures: dict[str, Any], wanted: list[str], on_step: OnStep, **how: Any) -> dict[str, np.ndarray]:
        """The team's answers at the size of the pictures; `labour` counts how long it takes."""
        return self.labour.of(lambda told: self.team.run(pictures, wanted, **self._how(), **how, on_step=told), on_step)

    def _output(self, name: str, answers: dict[str, np.ndarray], info: dict[str, Any]) -> ChannelImage:
        if name == "height":
            return self._height(answers, info)
        if name == "residual":
            parts = {n: self._output(n, answers, info).data for n in self.task.made_from[name]}
            return derive.residual(self.wire["image"].data, **parts)
        if self.task.name == "shade":
            return derive.shaded(self.wire, answers["inverseshading"], self.exposure)
        if name in self.wire:
            return self.wire[name]
        made = channels.to_wire(name, answers[name], self.task.normals if name == "normals" else None)
        return ChannelImage(made.data / np.float32(self.exposure), made.space) if name in LIT else made

    def _height(self, answers: dict[str, np.ndarray], info: dict[str, Any]) -> ChannelImage:
        if "height" in self.wire:
            info["height_scale"] = self.height_scale
            return self.wire["height"]
        image, info["height_scale"] = derive.height(answers["normals"], self.periodic)
        return image
