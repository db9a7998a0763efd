# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene's passes, shaded by the engine."""

from __future__ import annotations

from functools import partial

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from .. import jobs, landing, passes, viewpoint
from .base import TaskOperator


VIEWS = (
    ("CAMERA", "Camera", "What the scene's camera sees; what the viewport shows if there is no camera"),
    ("VIEW", "Current View", "What the 3D viewport shows, in the proportions of the render settings"),
)


class TEAMWORK_OT_neural_render(TaskOperator):
    """Render the scene's passes with few samples, and let the engine shade them"""

    bl_idname = "teamwork.neural_render"
    bl_label = "Neural Render"

    view: EnumProperty(name="View", description="From where the scene is rendered", items=VIEWS)
    samples: IntProperty(name="Samples", description="Cycles samples for the passes", min=1, max=4096, default=4)
    image_name: StringProperty(name="Image", description="Name of the image that is made", default="Neural Render")

    def send(self, context: bpy.types.Context) -> jobs.Job:
        """Render the passes and send them; the picture comes back."""
        seen = viewpoint.shown(self._area(context)) if self._from_viewport(context) else None
        channels = passes.render_picture(context.scene, samples=self.samples, view=seen)
        land = partial(landing.land_render, name=self.image_name, source=context.scene.name)
        title = f"Neural render of {context.scene.name}"
        return jobs.start("shade", self.model, channels, ("image",), self.job_options(), title, land)

    def _from_viewport(self, context: bpy.types.Context) -> bool:
        return self.view == "VIEW" or context.scene.camera is None

    def _area(self, context: bpy.types.Context) -> bpy.types.Area | None:
        """Where the button was pressed; from another editor, as for Regenerate, the first viewport of the screen. Raises `PassError`."""
        if self.view != "VIEW" or not viewpoint.on_screen(context) or getattr(context.area, "type", "") == "VIEW_3D":
            return context.area
        area = next((each for each in context.window.screen.areas if each.type == "VIEW_3D"), None)
        if area is None:
            raise passes.PassError("Current View needs a 3D viewport on this screen: open one, or choose Camera.")
        return area


CLASSES = (TEAMWORK_OT_neural_render,)
