# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels of Synthesize and Inpaint. Draws only."""

from __future__ import annotations

import bpy

from .creation_options import MATERIAL
from .drawing import fill, say
from .engine import LINK
from .panel_base import Task
from .presets import PRESETS


def draw_inability(layout: bpy.types.UILayout, context: bpy.types.Context, task: str) -> None:
    """If the chosen model cannot do the task, which could."""
    settings = context.scene.teamwork
    model = LINK.model(settings.model)
    if model is None or task in model.tasks:
        return
    able = [each.name for each in LINK.welcome.models if task in each.tasks]
    others = f"choose {' or '.join(able)}" if able else "get one from the engine that is made for it"
    say(layout, context, f"The model {settings.model} cannot do this: {others}.", "ERROR")


def draw_wish(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is to be synthesized."""
    settings = context.scene.teamwork
    layout.row().prop(settings, "what", expand=True)
    column = layout.column()
    column.use_property_split, column.use_property_decorate = True, False
    column.prop(settings, "prompt")
    if settings.prompt:
        column.prop(settings, "negative_prompt")
        column.prop(settings, "guidance")
    size = column.column(align=True)
    size.prop(settings, "width")
    size.prop(settings, "height")
    column.prop(settings, "tiles")
    if settings.what == MATERIAL:
        column.prop(settings, "apply")


def draw_mask(layout: bpy.types.UILayout, context: bpy.types.Context, *, of_material: bool, picture: bpy.types.Image | None) -> None:
    """The mask, and the button that makes one."""
    settings = context.scene.teamwork
    paint = layout.row()
    paint.enabled = of_material or picture is not None
    button = paint.operator("teamwork.paint_mask", icon="BRUSH_DATA")
    button.active_material = of_material
    if picture is not None and not of_material:
        button.image = picture.name
    layout.template_ID(settings, "mask", open="image.open")
    column = layout.column()
    column.use_property_split, column.use_property_decorate = True, False
    for name in ("mask_from", "borders_meet", "repeats", "replace"):
        column.prop(settings, name)


class Synthesize(Task):
    """A material or a picture from words, or from nothing but the seed"""

    bl_label = "Synthesize"
    presets = PRESETS["synthesize"]

    def draw(self, context: bpy.types.Context) -> None:
        """The wish and the button."""
        draw_wish(self.layout, context)
        draw_inability(self.layout, context, "synthesize")
        self.draw_button(context, "teamwork.synthesize", "Synthesize", "SHADERFX", needs_picture=False)


class Inpaint(Task):
    """The masked part of a picture is made anew"""

    bl_label = "Inpaint"
    presets = PRESETS["inpaint"]

    def draw(self, context: bpy.types.Context) -> None:
        """Picture, mask, button."""
        picture = self.draw_picture(context)
        draw_mask(self.layout, context, of_material=False, picture=picture)
        draw_inability(self.layout, context, "inpaint")
        self.draw_button(context, "teamwork.inpaint", "Inpaint", "BRUSH_DATA", picture)
        if picture is not None:
            self.draw_expected(context, "inpaint", ("image",), tuple(picture.size), inputs=2)


class InpaintMaterial(Task):
    """The masked part of all maps of the active material is made anew, together"""

    bl_label = "Inpaint Material"
    presets = PRESETS["inpaint"]

    def draw(self, context: bpy.types.Context) -> None:
        """Material, mask, button."""
        material = getattr(context.object, "active_material", None) if context.object else None
        name = material.name if material else "Choose an object with a material"
        self.layout.label(text=name, icon="MATERIAL")
        draw_mask(self.layout, context, of_material=True, picture=None)
        draw_inability(self.layout, context, "inpaint")
        row = self.layout.row()
        row.scale_y, row.enabled = 1.4, material is not None
        button = row.operator("teamwork.inpaint", text="Inpaint Material", icon="BRUSH_DATA")
        fill(button, context.scene.teamwork)
        button.active_material = True
