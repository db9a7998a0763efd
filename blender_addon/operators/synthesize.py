# SPDX-License-Identifier: GPL-3.0-or-later
"""Materials and pictures from a prompt, or from nothing but a seed."""

from __future__ import annotations

from functools import partial
from typing import Any

import bpy
from bpy.props import BoolProperty, StringProperty

from .. import jobs, landing
from ..creation_options import MATERIAL, SynthesisOptions
from ..target import Target
from .base import TaskOperator


class TEAMWORK_OT_synthesize(SynthesisOptions, TaskOperator):
    """Make a material with all its maps, or a picture with its channels, from words or from nothing but the seed"""

    bl_idname = "teamwork.synthesize"
    bl_label = "Synthesize"

    apply: BoolProperty(name="Put on Active Object", description="Put the material into the active slot", default=False)
    new_name: StringProperty(name="Name", description="Of what is made; empty takes the prompt", options={"SKIP_SAVE"})

    def send(self, context: bpy.types.Context) -> jobs.Job:
        """Send the wish; maps come back."""
        material = self.what == MATERIAL
        name = self.new_name or self.prompt.strip()[:40] or ("Synthesized" if material else "Synthesized Image")
        target = Target.of(getattr(context, "object", None)) if self.apply and material else None
        land = partial(landing.land_synthesis, name=name, source="", target=target, material=material)
        return jobs.start("synthesize", self.model, {}, (), self.job_options(), f"Synthesize {name}", land)

    def job_options(self) -> dict[str, Any]:
        """What goes along with the job."""
        numbers = {"width": self.width, "height": self.height, "guidance": self.guidance, "seamless": int(self.tiles)}
        texts = {"prompt": self.prompt, "negative_prompt": self.negative_prompt}
        return super().job_options() | numbers | texts | {"surface": int(self.what == MATERIAL)}


CLASSES = (TEAMWORK_OT_synthesize,)
