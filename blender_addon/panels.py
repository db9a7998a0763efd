# SPDX-License-Identifier: GPL-3.0-or-later
"""The Teamwork tab of the 3D viewport, the Image Editor, the Shader Editor and the Compositor: in each the tasks that
belong there. Draws only.
"""

from __future__ import annotations

import bpy

from . import jobs, previews, recovery
from .creation_panels import Inpaint, InpaintMaterial, Synthesize
from .drawing import draw_model, draw_next_step, expected_seconds, say
from .engine import LINK
from .history import made
from .material_drawing import draw_candidates, draw_settings, expected, given_of
from .own_numbers import draw_number
from .panel_base import Panel, Task
from .presets import PRESETS

HISTORY_SHOWN = 6
ENDED_SHOWN = 3
ICONS = {jobs.RUNNING: "TIME", jobs.DONE: "CHECKMARK", jobs.FAILED: "ERROR", jobs.CANCELLED: "CANCEL"}
SPACES = {
    "view3d": ("VIEW_3D", ""),
    "image": ("IMAGE_EDITOR", ""),
    "shader": ("NODE_EDITOR", "ShaderNodeTree"),
    "compositor": ("NODE_EDITOR", "CompositorNodeTree"),
}
"""Editors by our names for them: the type of the space, and the tree that it has to show."""


class _Engine(Panel):
    """What the engine is doing, and what to do next"""

    bl_label = "Engine"

    def draw(self, context: bpy.types.Context) -> None:
        """State, next step, model; what waits from earlier."""
        draw_next_step(self.layout, context)
        if LINK.connected and LINK.welcome:
            draw_model(self.layout, context)
        if LINK.connected and recovery.State.offered:
            self._draw_offer(self.layout.box(), context)

    def _draw_offer(self, box: bpy.types.UILayout, context: bpy.types.Context) -> None:
        count = len(recovery.State.offered)
        say(box, context, f"{count} result{'s' if count > 1 else ''} of an earlier Blender can be fetched", "IMPORT")
        row = box.row(align=True)
        row.operator("teamwork.fetch_results", text="Fetch")
        row.operator("teamwork.forget_results", text="Forget")


class _Jobs(Panel):
    """The jobs that run: how far they are, what comes of them, and their Cancel"""

    bl_label = "Running"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """While there are any."""
        return super().poll(context) and bool(jobs.running())

    def draw(self, context: bpy.types.Context) -> None:
        """One box each, the oldest first."""
        for job in jobs.running():
            self._draw_job(self.layout.box(), job)

    def _draw_job(self, box: bpy.types.UILayout, job: jobs.Job) -> None:
        box.label(text=job.title, icon="TIME", translate=False)
        icon = previews.icon_of(job.job_id)
        if icon:
            box.template_icon(icon_value=icon, scale=6.0)
        row = box.row(align=True)
        row.progress(factor=job.factor, text=job.line)
        row.operator("teamwork.cancel", text="", icon="X").job = job.job_id


class _Material(Task):
    """A photo of a surface becomes a material"""

    bl_label = "Material from Photo"
    task = "material"
    needs = "First open a photo, or give maps that you have"
    bl_options = set()
    presets = PRESETS["material"]

    def draw(self, context: bpy.types.Context) -> None:
        """Picture, settings, button; what has come of it."""
        picture, given = self.draw_picture(context), given_of(context.scene.teamwork)
        draw_settings(self.layout, context)
        ready = {"ready": picture is not None or bool(given), "expected": expected(context, picture)}
        self.draw_button(context, "teamwork.material_from_image", "Make Material", "MATERIAL", picture, **ready)
        draw_candidates(self.layout, context)


class _Decompose(Task):
    """A picture is taken apart into what it shows and how that is lit"""

    bl_label = "Decompose Image"
    task = "decompose"
    needs = "First open a picture, or show one here"
    presets = PRESETS["decompose"]

    def draw(self, context: bpy.types.Context) -> None:
        """Picture and button."""
        picture = self.draw_picture(context)
        line = expected_seconds(context, self.task, (), tuple(picture.size)) if picture else ""
        self.draw_button(context, "teamwork.decompose_image", "Decompose", "RENDERLAYERS", picture, ready=bool(picture), expected=line)


class _Render(Task):
    """The scene, rendered with few samples and shaded by the engine"""

    bl_label = "Neural Render"
    task = "shade"
    presets = PRESETS["render"]

    def draw(self, context: bpy.types.Context) -> None:
        """Samples and button."""
        self.layout.use_property_split, self.layout.use_property_decorate = True, False
        self.layout.prop(context.scene.teamwork, "view")
        self.layout.prop(context.scene.teamwork, "samples")
        render = context.scene.render
        factor = render.resolution_percentage / 100.0
        size = int(render.resolution_x * factor), int(render.resolution_y * factor)
        line = expected_seconds(context, self.task, ("image",), size, inputs=6)
        self.draw_button(context, "teamwork.neural_render", "Render", "RENDER_STILL", expected=line)


class _Advanced(Panel):
    """Settings that are seldom needed: each has a default that the model knows best"""

    bl_label = "Advanced"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Seed, steps, size."""
        self.layout.use_property_split, self.layout.use_property_decorate = True, False
        column = self.layout.column()
        column.prop(context.scene.teamwork, "seed")
        for number in ("steps", "size"):
            draw_number(column, context.scene.teamwork, number)


class _Results(Panel):
    """What was made in this file: make it again, see how it was made"""

    bl_label = "Results"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Once there is something."""
        return super().poll(context) and bool(made() or len(jobs.JOBS) > len(jobs.running()))

    def draw(self, context: bpy.types.Context) -> None:
        """What the last jobs said, then what is in the file."""
        ended = [job for job in jobs.JOBS if job.state != jobs.RUNNING]
        for position, job in enumerate(reversed(ended[-ENDED_SHOWN:])):
            row = self.layout.row()
            line = job.line if job.state == jobs.DONE else f"{job.title}: {job.line}"
            say(row, context, line, ICONS[job.state], buttons=position == 0)
            if position == 0:
                row.operator("teamwork.clear_history", text="", icon="X", emboss=False)
        for each in made()[:HISTORY_SHOWN]:
            self._draw_made(self.layout.row(align=True), each)

    def _draw_made(self, row: bpy.types.UILayout, each) -> None:
        datablock = each.datablock
        if datablock is None:
            return
        row.label(text=datablock.name, icon_value=row.icon(datablock), translate=False)  # a name may be a word that Blender knows
        again = row.row(align=True)
        again.enabled = bool(each.operator)
        again.operator("teamwork.regenerate", text="", icon="FILE_REFRESH").job = each.job_id
        row.operator("teamwork.show_settings", text="", icon="INFO").job = each.job_id


TASKS = {
    "material": (_Material, ("view3d", "image", "shader")),
    "decompose": (_Decompose, ("image", "compositor")),
    "render": (_Render, ("view3d",)),
    "synthesize": (Synthesize, ("view3d", "shader", "image")),
    "inpaint": (Inpaint, ("image",)),
    "mend": (InpaintMaterial, ("view3d", "shader")),
}
"""Each task's panel, and where it belongs."""


def _panel(base: type, space: str, name: str, parent: str = "") -> type:
    """A panel's class for one kind of editor."""
    kind, tree = SPACES[space]
    title = f"TEAMWORK_PT_{space}_{name}"
    body = {"bl_idname": title, "bl_space_type": kind, "tree": tree, "__doc__": base.__doc__}
    if parent:
        body["bl_parent_id"] = parent
    return type(title, (base, bpy.types.Panel), body)


def _of(space: str) -> list[type]:
    """The panels of one editor, from top to bottom. The first task of each is open."""
    classes = [_panel(_Engine, space, "engine"), _panel(_Jobs, space, "jobs")]
    tasks = [(name, base) for name, (base, spaces) in TASKS.items() if space in spaces]
    for position, (name, base) in enumerate(tasks):
        panel = _panel(base, space, name)
        panel.bl_options = set() if position == 0 else {"DEFAULT_CLOSED"}
        classes += [panel, _panel(_Advanced, space, f"{name}_advanced", panel.bl_idname)]
    return [*classes, _panel(_Results, space, "results")]


CLASSES = (*PRESETS.values(), *(panel for space in SPACES for panel in _of(space)))
