# SPDX-License-Identifier: GPL-3.0-or-later
"""An image taken apart into what it shows and how that is lit."""

from __future__ import annotations

from functools import partial

import bpy

from .. import jobs, landing
from .base import ImageOperator


class TEAMWORK_OT_decompose_image(ImageOperator):
    """Take an image apart: albedo, shading, residual, normals, depth, roughness and metalness"""

    bl_idname = "teamwork.decompose_image"
    bl_label = "Decompose Image"

    def send(self, context: bpy.types.Context) -> jobs.Job:
        """Send the picture; its channels come back."""
        name, source, picture = self.picture(context)
        land = partial(landing.land_decomposition, name=name, source=source)
        return jobs.start("decompose", self.model, {"image": picture}, (), self.job_options(), f"Decompose {name}", land)


CLASSES = (TEAMWORK_OT_decompose_image,)
