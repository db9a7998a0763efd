# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures with their channels, and whole materials, from a prompt, from some channels, or from nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

from blender_addon.wire import ChannelImage, Submit

from . import channels
from .fitting import Fit, fit
from .tasks import USUAL_SIDE, Task
from .team_run import Run
from .teamwork.team import Team

MATERIAL = ("albedo", "roughness", "metalness", "normals", "height")


class Synthesis(Run):
    """One job on one team. With the option `surface` it makes a material's maps, with normals of the surface; else a picture."""

    def __init__(self, task: Task, team: Team, job: Submit) -> None:
        surface = bool(job.options.get("surface"))
        normals = channels.TANGENT_NORMAL if surface else channels.CAMERA_NORMAL
        super().__init__(dataclasses.replace(task, surface=surface, normals=normals), team, job)

    def _wire(self) -> dict[str, ChannelImage]:
        return super()._wire() if self.job.inputs else {}

    def _fit(self) -> Fit:
        if self.wire:
            return super()._fit()
        usual = self.team.native_size or USUAL_SIDE
        width, height = (int(self._option(name)) or usual for name in ("width", "height"))
        side = int(self._option("size")) or max(width, height)
        return fit(height, width, side, self.team.base.multiple if self.periodic else 1)

    def _how(self) -> dict[str, Any]:
        height, width = self.fit.working
        negative, guidance = self._text("negative_prompt") or None, float(self._option("guidance")) or None
        told = {"prompt": self._text("prompt"), "negative_prompt": negative, "guidance": guidance}
        return super()._how() | told | ({} if self.wire else {"width": width, "height": height})

    def _usual(self, outputs: tuple[str, ...]) -> tuple[str, ...]:
        return MATERIAL if self.task.surface else tuple(name for name in outputs if name != "height")
