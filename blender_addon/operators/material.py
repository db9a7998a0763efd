# SPDX-License-Identifier: GPL-3.0-or-later
"""Photo to material: any channels given, the others made."""

from __future__ import annotations

import uuid
from functools import partial
from math import degrees
from typing import Any

import bpy
from bpy.props import StringProperty

from .. import images, jobs, landing, masks
from ..images import ImageError
from ..material_options import BUMP, CHANNELS, DISPLACEMENT, FLASH, GIVEN, TILINGS, GivenNames, MaterialOptions
from ..target import Target
from ..wire import ChannelImage
from .base import ImageOperator


class TEAMWORK_OT_material_from_image(MaterialOptions, GivenNames, ImageOperator):
    """Make a Principled material from a photo of a flat surface, from maps that you have already, or from both"""

    bl_idname = "teamwork.material_from_image"
    bl_label = "Material from Photo"

    material_name: StringProperty(
        name="Name", description="The material's name; empty takes the picture's", options={"SKIP_SAVE"}
    )
    group: StringProperty(
        name="Group", description="Materials that are candidates for the same place", options={"SKIP_SAVE", "HIDDEN"}
    )

    def send_all(self, context: bpy.types.Context) -> list[jobs.Job]:
        """Send the picture, once for each candidate; the materials come back. The first one goes on the object."""
        given = {channel: images.find(name) for setting, channel in GIVEN.items() if (name := getattr(self, setting))}
        outputs = self._outputs(given)
        if self.folder:
            images.writable_folder(self.folder)
        name, source, inputs = self._inputs(context, given)
        if self.candidates > 1 and not self.group:
            self.group = uuid.uuid4().hex
        target = Target.of(getattr(context, "object", None), self.slot) if self.apply else None
        kept = {channel: Target.of_datablock(image, "images") for channel, image in given.items()}
        land = partial(landing.land_material, name=self.material_name or name, source=source, given=kept)
        sent = []
        for seed in range(self.seed, self.seed + self.candidates):
            title = f"Material from {name}" + (f", seed {seed}" if self.candidates > 1 else "")
            options, on = self.job_options() | {"seed": seed}, None if sent else target
            sent.append(jobs.start("material", self.model, inputs, outputs, options, title, partial(land, target=on)))
        return sent

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for a photo, unless there is one, or maps are given."""
        return self.execute(context) if any(getattr(self, name) for name in GIVEN) else super().invoke(context, event)

    def settings_of(self, job: jobs.Job) -> dict[str, Any]:
        """As for any job; each candidate can be made again alone."""
        return super().settings_of(job) | {"seed": job.submit.options["seed"], "candidates": 1}

    def job_options(self) -> dict[str, Any]:
        """What goes along with the job."""
        options = super().job_options() | {"seamless": TILINGS.index(self.seamless), "vary": int(bool(self.group))}
        flash = {"fov": degrees(self.fov)} if self.capture == FLASH else {}
        return options | flash | ({"height_scale": self.height_scale} if self.given_height else {})

    def _outputs(self, given: dict[str, bpy.types.Image]) -> tuple[str, ...]:
        """What the engine shall make: what is wanted and not given; of a tile, also what is given, cut like the rest."""
        wanted = set(self.channels) | ({"height"} if self.relief in (BUMP, DISPLACEMENT) else set())
        made = wanted - set(given)
        if not made:
            fault = "No maps are wanted: choose at least one."
            raise ImageError(fault if not given else "All maps that are wanted are given: choose one more that shall be made.")
        made |= set(given) if self.seamless == "MAKE" else set()
        return tuple(channel for channel, _, _ in CHANNELS if channel in made)

    def pixels_of(self, image: bpy.types.Image) -> ChannelImage:
        """With what is no surface, because it can be seen through."""
        return masks.with_opacity(image)

    def _inputs(self, context: bpy.types.Context, given: dict[str, bpy.types.Image]) -> tuple[str, str, dict[str, ChannelImage]]:
        """A name for what is made, the photo's own name ("" without one), and what is sent. Raises `ImageError`."""
        channels = {channel: images.read_channel(image, channel) for channel, image in given.items()}
        if given and not self.has_picture(context):
            return next(iter(given.values())).name.rsplit(".", 1)[0], "", channels
        name, source, picture = self.picture(context)
        return name, source, {"image": picture} | channels


CLASSES = (TEAMWORK_OT_material_from_image,)
