# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene's passes, shaded by the engine."""

from __future__ import annotations

from functools import partial

import bpy
from bpy.props import IntProperty, StringProperty

from .. import jobs, landing, passes
from .base import TaskOperator


class TEAMWORK_OT_neural_render(TaskOperator):
    """Render the scene's passes with few samples, and let the engine shade them"""

    bl_idname = "teamwork.neural_render"
    bl_label = "Neural Render"

    samples: IntProperty(name="Samples", description="Cycles samples for the passes", min=1, max=4096, default=4)
    image_name: StringProperty(name="Image", description="Name of the image that is made", default="Neural Render")

    def send(self, context: bpy.types.Context) -> jobs.Job:
        """Render the passes and send them; the picture comes back."""
        channels = passes.render_channels(context.scene, samples=self.samples)
        land = partial(landing.land_render, name=self.image_name, source=context.scene.name)
        title = f"Neural render of {context.scene.name}"
        return jobs.start("shade", self.model, channels, ("image",), self.job_options(), title, land)


CLASSES = (TEAMWORK_OT_neural_render,)
