# SPDX-License-Identifier: GPL-3.0-or-later
"""The Teamwork tab of the 3D viewport, the Image Editor and the Shader Editor. Draws only."""

from __future__ import annotations

import bpy

from . import jobs
from .drawing import draw_next_step, say
from .engine import LINK

HISTORY_SHOWN = 5
ICONS = {jobs.RUNNING: "TIME", jobs.DONE: "CHECKMARK", jobs.FAILED: "ERROR", jobs.CANCELLED: "CANCEL"}
OPTIONS = ("model", "seed", "steps", "size")


def _draw_picture_tasks(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    settings = context.scene.teamwork
    picture = settings.picture or getattr(context.space_data, "image", None)
    layout.template_ID(settings, "picture", open="image.open")
    if settings.picture is None and picture is not None:
        layout.label(text=f"or, as shown: {picture.name}")
    column = layout.column(align=True)
    column.enabled = picture is not None
    material = column.operator("teamwork.material_from_image", icon="MATERIAL")
    _fill(material, settings, picture)
    material.apply = settings.apply
    _fill(column.operator("teamwork.decompose_image", icon="RENDERLAYERS"), settings, picture)
    layout.prop(settings, "apply")


def _fill(operator: bpy.types.OperatorProperties, settings, picture: bpy.types.Image | None = None) -> None:
    for name in OPTIONS:
        setattr(operator, name, getattr(settings, name))
    if picture is not None:
        operator.image = picture.name


def _draw_render(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    settings = context.scene.teamwork
    layout.prop(settings, "samples")
    render = layout.operator("teamwork.neural_render", icon="RENDER_STILL")
    _fill(render, settings)
    render.samples = settings.samples


def _draw_options(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    layout.use_property_split = True
    for name in OPTIONS:
        layout.prop(context.scene.teamwork, name)
    model = LINK.model(context.scene.teamwork.model)
    if model is not None:
        say(layout, context, f"{model.title}, licence {model.licence}, needs {model.memory_bytes / 1e9:.1f} GB")


def _draw_job(box: bpy.types.UILayout, context: bpy.types.Context, job: jobs.Job) -> None:
    box.label(text=job.title, icon=ICONS[job.state])
    if job.state != jobs.RUNNING:
        say(box, context, job.line)
        return
    row = box.row(align=True)
    row.progress(factor=job.factor, text=job.line)
    row.operator("teamwork.cancel", text="", icon="X").job = job.job_id


class _Panel(bpy.types.Panel):
    bl_label = "Teamwork"
    bl_region_type = "UI"
    bl_category = "Teamwork"

    def draw(self, context: bpy.types.Context) -> None:
        """Engine, tasks, options, jobs."""
        draw_next_step(self.layout, context)
        self._draw_section("picture", "Picture", _draw_picture_tasks, context)
        if self.bl_space_type == "VIEW_3D":
            self._draw_section("render", "Scene", _draw_render, context)
        self._draw_section("options", "Options", _draw_options, context, closed=True)
        for job in reversed(jobs.JOBS[-HISTORY_SHOWN:]):
            _draw_job(self.layout.box(), context, job)

    def _draw_section(self, name: str, title: str, draw, context: bpy.types.Context, closed: bool = False) -> None:
        header, body = self.layout.panel(f"{self.bl_idname}_{name}", default_closed=closed)
        header.label(text=title)
        if body is not None:
            draw(body, context)


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

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Not for geometry or textures."""
        return context.space_data.tree_type in {"ShaderNodeTree", "CompositorNodeTree"}


CLASSES = (TEAMWORK_PT_view3d, TEAMWORK_PT_image, TEAMWORK_PT_nodes)
