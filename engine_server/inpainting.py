# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of pictures made anew, in all channels of a surface or a scene together.

Outside the mask every channel comes back exactly as it was. Inside it is what the team makes beside the known parts, moved so
that the mask's rim does not show. The network looks closely at the hole, not at the whole picture from afar. For a team that
makes nothing of its own, what lies around the hole goes on in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from blender_addon.wire import ChannelImage, Submit

from . import channels, derive
from .abilities import goes_on
from .closeup import close_up
from .errors import TaskError
from .fitting import Fit, fit, resized, same_shape
from .given import sizes_in_words
from .membrane import filled, patched
from .tasks import USUAL_SIDE, Task
from .team_run import LIT, Answer, OnStep, Run
from .teamwork.asked import HOLLOW, Inpaint
from .teamwork.team import Team

WIDE, WIDEST, AROUND = 512, 2048, 3
"""What goes on into a hole is looked for in so many pixels a side at least, and at so many at most, else at a smaller size; and in so
many times the hole's extent: in twice, a wall of a few bricks has too little to offer."""


class Inpainting(Run):
    """One job on one team. Channels that are given and not requested are known as a whole, and help."""

    def __init__(self, task: Task, team: Team, job: Submit) -> None:
        self.mask = _mask(job.inputs)
        self.kept = {name: image for name, image in job.inputs.items() if name != "mask"}
        self.going_on = goes_on(team.config.inputs, team.manner(task.name))
        super().__init__(task, team, job)

    def _wire(self) -> dict[str, ChannelImage]:
        """The parts of the given channels around the hole."""
        hole = resized(self.mask, max((image.data.shape[:2] for image in self.kept.values()))) > 0
        native = self.team.native_size or USUAL_SIDE
        look = (max(native, WIDE), self.periodic, AROUND) if self.going_on else (native, self.periodic)
        self.view = close_up(hole[..., 0], *look)
        self.periodic = self.periodic and self.view.whole
        return {name: ChannelImage(self.view.cut(image.data), image.space) for name, image in self.kept.items()}

    def _fit(self) -> Fit:
        height, width = max(image.data.shape[:2] for image in self.wire.values())
        usual = WIDEST if self.going_on else self.team.native_size or USUAL_SIDE
        side = int(self._option("size")) or usual
        working = fit(height, width, side, self.team.base.multiple if self.periodic else 1).working
        return Fit(working, (height, width))

    def run(self, outputs: tuple[str, ...], on_step: OnStep) -> Answer:
        """Make the outputs anew under the mask."""
        self._check(outputs)
        answers = self._made_anew(outputs, on_step)
        info: dict[str, Any] = {"seed": int(self._option("seed")), "steps": self._steps(), "exposure": self.exposure}
        if note := self._note():
            info["note"] = note
        return {name: self._joined(name, answers[name]) for name in outputs}, info

    def _note(self) -> str:
        """Where the new part comes from, or which of the channels that are known as a whole the team does not look at."""
        if self.going_on:
            return "this model makes nothing of its own: the hole was filled with what lies around it"
        outputs = self.job.outputs or tuple(self.kept)
        unseen = [name for name in self.kept if name not in outputs and name not in self.team.config.inputs]
        return f"this model does not look at {', '.join(unseen)}" if unseen else ""

    def rows(self, outputs: tuple[str, ...]) -> int:
        """Given and wanted channels together."""
        if self.going_on:
            return len(self.model)
        return len(self._context(outputs, None)) + self._made_rows(self._sources(outputs))

    def _check(self, outputs: tuple[str, ...]) -> None:
        missing = [name for name in outputs if name not in self.kept]
        if missing:
            raise TaskError("bad-input", f"Of {missing[0]} nothing is known: give it, or make it with another task.")
        if "height" in outputs and "normals" not in outputs:
            raise TaskError("bad-input", "A height map is made anew along with its normals: give the normals, too.")

    def _sources(self, outputs: tuple[str, ...]) -> list[str]:
        """What the team makes for these outputs."""
        names = [n for name in outputs for n in self.task.made_from.get(name, (name,))]
        makes = self.team.config.outputs
        # an albedo alone says nothing of diffuse and specular: then the team's own albedo goes on from it
        own = ("albedo",) if "albedo" in makes and "metalness" not in self.kept else ()
        return list(dict.fromkeys(source for n in names for source in ((n,) if n in own else derive.sources(n, makes))))

    def _made_anew(self, outputs: tuple[str, ...], on_step: OnStep) -> dict[str, np.ndarray]:
        """The team's answers at the size of the close-up, in model encoding."""
        size = self.fit.working
        hole = self._hole(size)
        small = {name: resized(picture, size, self.periodic) for name, picture in self.model.items()}
        if self.going_on:
            return self._with_height(self._continued(small, hole, outputs, on_step), outputs)
        sources = self._sources(outputs)
        known = {name: filled(picture, hole, self.periodic) for name, picture in derive.specular_workflow(small).items()}
        asked = Inpaint({n: picture for n, picture in known.items() if n in sources}, hole, int(self._option("repeats")) or 1)
        shown = self._context(outputs, (small, hole))
        made = self._computed(shown, sources, on_step, inpaint=asked)
        return self._with_height(derive.metalness_workflow(made), outputs)

    def _continued(self, small: dict[str, np.ndarray], hole: np.ndarray, outputs: tuple[str, ...], on_step: OnStep) -> dict:
        """What lies around the hole gone on in it; a height map follows from its normals."""
        from .surroundings.fill import continued  # imports torch

        wanted = tuple(name for name in outputs if name != "height")
        shown = {name: picture for name, picture in small.items() if name in wanted or name not in outputs}
        seed = int(self._option("seed"))
        return self.labour.of(lambda told: continued(shown, wanted, hole, self.periodic, seed, told), on_step)

    def _context(self, outputs: tuple[str, ...], seen: tuple[dict, np.ndarray] | None) -> dict[str, Any]:
        """What the team is given: channels that are known as a whole and, if it looks at masks, the mask and the rest."""
        takes = self.team.config.inputs
        given = [n for n in self.model if n in takes and (n not in outputs or "mask" in takes)]
        if seen is None:
            return dict.fromkeys([*given, *(["mask"] if "mask" in takes else [])])
        small, hole = seen
        hollow = {n: np.where(hole[..., None], np.float32(HOLLOW), small[n]) if n in outputs else small[n] for n in given}
        return hollow | ({"mask": hole.astype(np.float32)} if "mask" in takes else {})

    def _with_height(self, made: dict[str, np.ndarray], outputs: tuple[str, ...]) -> dict[str, np.ndarray]:
        """The answers and, if it is wanted, the relief of the new normals, in the units of the given height map."""
        if "height" not in outputs:
            return made
        size, hole = made["normals"].shape[:2], self._hole(made["normals"].shape[:2])
        before = resized(self.model["normals"], size, self.periodic)
        relief = derive.relief(before, self.periodic)[..., None]
        known = resized(self.model["height"], size, self.periodic)[..., :1]
        scale = derive.slope_of(relief[~hole], known[~hole])
        new = patched(before, made["normals"], hole, self.periodic)
        return made | {"height": (derive.relief(new, self.periodic)[..., None] * scale).repeat(3, -1)}

    def _hole(self, size: tuple[int, int]) -> np.ndarray:
        """Where the close-up is made anew, at a size: wherever anything of it is masked."""
        return resized(self.view.cut(resized(self.mask, self.view.size)), size)[..., 0] > 0

    def _joined(self, name: str, made: np.ndarray) -> ChannelImage:
        """A channel with its new part, in its own size; elsewhere just as it was given."""
        part, whole = self.wire[name], self.kept[name]
        size = part.data.shape[:2]
        share = resized(self.view.cut(resized(self.mask, self.view.size)), size)
        new = np.clip(patched(self.model[name], resized(made, size, self.periodic), share[..., 0] > 0, self.periodic), 0.0, 1.0)
        mixed = self._decoded(name, self.model[name] + np.minimum(share, 1.0) * (new - self.model[name]), part)
        data = np.where(share > 0, mixed, np.asarray(part.data, np.float32))
        return ChannelImage(self.view.put_back(np.asarray(whole.data, np.float32), data), whole.space)

    def _decoded(self, name: str, values: np.ndarray, like: ChannelImage) -> np.ndarray:
        if name == "depth":
            return derive.depth_like(values, like.data)
        data = channels.to_wire(name, values, like.space).data
        data = data / np.float32(self.exposure) if name in LIT else data
        parts = like.data.shape[-1]
        return np.concatenate([data.repeat(3, -1) if data.shape[-1] == 1 else data, like.data[..., 3:]], -1)[..., :parts]


def _mask(inputs: dict[str, ChannelImage]) -> np.ndarray:
    """The mask, H x W x 1 in 0..1, at the size of the largest channel. Raises `TaskError`."""
    others = [image.data.shape[:2] for name, image in inputs.items() if name != "mask"]
    if not others:
        raise TaskError("bad-input", "Nothing is given beside the mask: give the channels that shall be made anew.")
    mask = np.clip(channels.single_value(channels.three_components(np.nan_to_num(inputs["mask"].data))), 0.0, 1.0)
    if not all(same_shape(mask.shape[:2], size) for size in others):
        sentence = f"The mask and the pictures differ in their proportions ({sizes_in_words(inputs)}): make a mask of their size."
        raise TaskError("bad-input", sentence)
    if not (mask > 0).any():
        raise TaskError("bad-input", "The mask is empty: paint over what shall be made anew.")
    return resized(mask.astype(np.float32), max(others))
