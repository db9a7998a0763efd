# SPDX-License-Identifier: GPL-3.0-or-later
"""Photo to material."""

from __future__ import annotations

from functools import partial

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from .. import jobs, landing
from ..images import ImageError
from .base import ImageOperator

CHANNELS = (
    ("albedo", "Base Color", "The colour of the surface without light"),
    ("roughness", "Roughness", "How dull the surface is"),
    ("metalness", "Metallic", "Where the surface is metal"),
    ("normals", "Normal", "Relief, as a normal map"),
    ("height", "Height", "Relief, as a height map made from the normals"),
)


class TEAMWORK_OT_material_from_image(ImageOperator):
    """Make a Principled material from a photo of a flat surface"""

    bl_idname = "teamwork.material_from_image"
    bl_label = "Material from Photo"

    channels: EnumProperty(
        name="Maps",
        description="Which maps to make; fewer are faster",
        items=CHANNELS,
        options={"ENUM_FLAG"},
        default={name for name, _, _ in CHANNELS},
    )
    apply: BoolProperty(name="Put on Active Object", description="Put the material into the active slot", default=False)
    material_name: StringProperty(
        name="Name", description="The material's name; empty takes the picture's", options={"SKIP_SAVE"}
    )

    def send(self, context: bpy.types.Context) -> jobs.Job:
        """Send the picture; the material comes back."""
        if not self.channels:
            raise ImageError("No maps are wanted: choose at least one.")
        name, source, picture = self.picture(context)
        target = landing.Target.of(getattr(context, "object", None)) if self.apply else None
        land = partial(landing.land_material, name=self.material_name or name, source=source, target=target)
        wanted = tuple(channel for channel, _, _ in CHANNELS if channel in self.channels)
        title = f"Material from {name}"
        return jobs.start("material", self.model, {"image": picture}, wanted, self.job_options(), title, land)


CLASSES = (TEAMWORK_OT_material_from_image,)
