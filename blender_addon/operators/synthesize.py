# SPDX-License-Identifier: GPL-3.0-or-later
"""Materials and pictures from a prompt, from channels that there are already, or from nothing but a seed."""

from __future__ import annotations

from functools import partial
from typing import Any

import bpy
from bpy.props import BoolProperty, StringProperty

from .. import images, jobs, landing
from ..creation_options import MATERIAL, GivenDepthName, SynthesisOptions, given_for
from ..images import ImageError
from ..material_options import TILINGS, GivenNames, GivenOptions
from ..target import Target
from ..wire import ChannelImage, one_line
from .base import TaskOperator


class TEAMWORK_OT_synthesize(SynthesisOptions, GivenOptions, GivenDepthName, GivenNames, TaskOperator):
    """Make a material with all its maps, or a picture with its channels, from words or from nothing but the seed"""

    bl_idname = "teamwork.synthesize"
    bl_label = "Synthesize"

    apply: BoolProperty(name="Put on Active Object", description="Put the material into the active slot", default=False)
    new_name: StringProperty(name="Name", description="Of what is made; empty takes the prompt", options={"SKIP_SAVE"})

    def send(self, context: bpy.types.Context) -> jobs.Job:
        """Send the wish, and what is given; maps come back."""
        material, given = self.what == MATERIAL, self._given()
        if len(given) == len(given_for(self.what)):
            raise ImageError("All maps are given: leave one out that shall be made.")
        name = self.new_name or self.prompt.strip()[:40] or ("Synthesized" if material else "Synthesized Image")
        target = Target.of(getattr(context, "object", None)) if self.apply and material else None
        kept = {channel: Target.of_datablock(image, "images") for channel, image in given.items()}
        land = partial(landing.land_synthesis, name=name, source="", target=target, material=material, given=kept)
        inputs = {channel: self._read(image, channel) for channel, image in given.items()}
        return jobs.start("synthesize", self.model, inputs, (), self.job_options(), f"Synthesize {name}", land)

    def _given(self) -> dict[str, bpy.types.Image]:
        """By channel. Raises `ImageError` for one that is gone."""
        return {channel: images.find(name) for setting, channel in given_for(self.what).items() if (name := getattr(self, setting))}

    def _read(self, image: bpy.types.Image, channel: str) -> ChannelImage:
        """Raises `ImageError`. Normals are those of a surface in a material, and those that a camera sees in a picture."""
        return images.read_channel(image, channel, "tangent-normal" if self.what == MATERIAL else "camera-normal")

    def job_options(self) -> dict[str, Any]:
        """What goes along with the job. What is given has its size, and may tile already."""
        texts = {"prompt": one_line(self.prompt), "negative_prompt": one_line(self.negative_prompt)}
        wish = {"guidance": self.guidance, "surface": int(self.what == MATERIAL)}
        given = self._given()
        if not given:
            return super().job_options() | texts | wish | {"width": self.width, "height": self.height, "seamless": int(self.tiles)}
        wish |= {"seamless": TILINGS.index(self.seamless)} if self.what == MATERIAL else {}
        return super().job_options() | texts | wish | ({"height_scale": self.height_scale} if "height" in given else {})


CLASSES = (TEAMWORK_OT_synthesize,)
