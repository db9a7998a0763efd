# SPDX-License-Identifier: GPL-3.0-or-later
"""The Teamwork tab of the 3D viewport, the Image Editor and the Shader Editor. Draws only."""

from __future__ import annotations

import bpy

from . import jobs
from .engine import LINK

HISTORY_SHOWN = 5
ICONS = {jobs.RUNNING: "TIME", jobs.DONE: "CHECKMARK", jobs.FAILED: "ERROR", jobs.CANCELLED: "CANCEL"}


def _draw_engine(layout: bpy.types.UILayout) -> None:
    """The state in words, and the one next step."""
    layout.label(text=LINK.state(), icon="LINKED" if LINK.connected else "UNLINKED")
    row = layout.row(align=True)
    if LINK.connected:
        row.operator("teamwork.test_engine")
        row.operator("teamwork.disconnect")
    else:
        row.operator("teamwork.connect")


def _draw_picture_tasks(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    settings = context.scene.teamwork
    layout.template_ID(settings, "picture", open="image.open")
    column = layout.column(align=True)
    column.enabled = settings.picture is not None
    material = column.operator("teamwork.material_from_image", icon="MATERIAL")
    _fill(material, settings)
    material.apply = settings.apply
    _fill(column.operator("teamwork.decompose_image", icon="RENDERLAYERS"), settings)
    layout.prop(settings, "apply")


def _fill(operator, settings) -> None:
    for name in ("model", "seed", "steps", "size"):
        setattr(operator, name, getattr(settings, name))
    if settings.picture and hasattr(operator, "image"):
        operator.image = settings.picture.name


def _draw_render(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    settings = context.scene.teamwork
    layout.prop(settings, "samples")
    render = layout.operator("teamwork.neural_render", icon="RENDER_STILL")
    _fill(render, settings)
    render.samples = settings.samples


def _draw_jobs(layout: bpy.types.UILayout) -> None:
    for job in reversed(jobs.JOBS[-HISTORY_SHOWN:]):
        box = layout.box()
        box.label(text=job.title, icon=ICONS[job.state])
        if job.state == jobs.RUNNING:
            row = box.row()
            row.progress(factor=job.factor, text=job.line)
            row.operator("teamwork.cancel", text="", icon="X").job = job.job_id
        else:
            box.label(text=job.line)


class _Panel(bpy.types.Panel):
    bl_label = "Teamwork"
    bl_region_type = "UI"
    bl_category = "Teamwork"

    def draw(self, context: bpy.types.Context) -> None:
        """Engine, tasks, jobs."""
        _draw_engine(self.layout)
        _draw_picture_tasks(self.layout.box(), context)
        if self.bl_space_type == "VIEW_3D":
            _draw_render(self.layout.box(), context)
        self._draw_advanced(context)
        _draw_jobs(self.layout)

    def _draw_advanced(self, context: bpy.types.Context) -> None:
        header, body = self.layout.panel(f"{self.bl_idname}_advanced", default_closed=True)
        header.label(text="Advanced")
        if body is not None:
            body.use_property_split = True
            for name in ("model", "seed", "steps", "size"):
                body.prop(context.scene.teamwork, name)


class TEAMWORK_PT_view3d(_Panel):
    """In the 3D viewport"""

    bl_idname = "TEAMWORK_PT_view3d"
    bl_space_type = "VIEW_3D"


class TEAMWORK_PT_image(_Panel):
    """In the Image Editor"""

    bl_idname = "TEAMWORK_PT_image"
    bl_space_type = "IMAGE_EDITOR"


class TEAMWORK_PT_nodes(_Panel):
    """In the Shader Editor and the Compositor"""

    bl_idname = "TEAMWORK_PT_nodes"
    bl_space_type = "NODE_EDITOR"


CLASSES = (TEAMWORK_PT_view3d, TEAMWORK_PT_image, TEAMWORK_PT_nodes)
