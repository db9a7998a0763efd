# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels of Synthesize and Inpaint. Draws only."""

from __future__ import annotations

import bpy

from .creation_options import MATERIAL, given_for
from .drawing import expected_seconds, say
from .engine import LINK
from .images import ImageError
from .material_drawing import draw_given, given_of, unseen_given
from .material_maps import maps_of
from .material_options import TILINGS
from .own_numbers import draw_number
from .panel_base import Task
from .presets import PRESETS
from .timing import synthesized


def draw_wish(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is to be synthesized."""
    settings = context.scene.teamwork
    material = settings.what == MATERIAL
    given = given_of(settings, given_for(settings.what))
    layout.row().prop(settings, "what", expand=True)
    column = layout.column()
    column.use_property_split, column.use_property_decorate = True, False
    column.prop(settings, "prompt")
    if settings.prompt:
        column.prop(settings, "negative_prompt")
        draw_number(column, settings, "guidance")
    if not given:
        _draw_size(column, settings)
    elif material:
        column.prop(settings, "seamless")  # the size is theirs
    if material:
        column.prop(settings, "apply")
    draw_given(layout, settings, given_for(settings.what))
    model = LINK.model(settings.model)
    for hint in unseen_given(model, given) if model is not None else ():
        say(layout, context, hint, "INFO")


def _draw_size(column: bpy.types.UILayout, settings) -> None:
    draw_number(column, settings, "extent")
    column.prop(settings, "tiles")


def expected_synthesis(context: bpy.types.Context) -> str:
    """About how long it takes, and at which size, as a line; empty where there is nothing to say."""
    settings = context.scene.teamwork
    model, material = LINK.model(settings.model), settings.what == MATERIAL
    if model is None:
        return ""
    given = given_of(settings, given_for(settings.what))
    outputs = [channel for channel in synthesized(material, model) if channel not in given]
    if given:
        size = tuple(next(iter(given.values())).size)
        more = {"seamless": TILINGS.index(settings.seamless) if material else 0}
    else:
        size = settings.width or model.native_size, settings.height or model.native_size
        more = {"seamless": int(settings.tiles), "size": settings.size or max(size)}
    line = expected_seconds(context, "synthesize", outputs, size, len(given), more)
    return f"{line} for {size[0]} x {size[1]}" if line.startswith("About") else line


def draw_mask(layout: bpy.types.UILayout, context: bpy.types.Context, *, of_material: bool, picture: bpy.types.Image | None) -> None:
    """The mask, and the button that makes one."""
    settings = context.scene.teamwork
    choice = layout.column(align=True)
    choice.label(text="Mask", icon="MOD_MASK")
    choice.template_ID(settings, "mask", open="image.open")
    paint = choice.row()
    paint.enabled = of_material or picture is not None
    button = paint.operator("teamwork.paint_mask", icon="BRUSH_DATA")
    button.active_material = of_material
    if picture is not None and not of_material:
        button.image = picture.name
    column = layout.column()
    column.use_property_split, column.use_property_decorate = True, False
    for name in ("mask_from", "borders_meet", "repeats", "replace"):
        column.prop(settings, name)


def expected_inpainting(context: bpy.types.Context, task: str, maps: dict[str, bpy.types.Image]) -> str:
    """About how long it takes to fill the mask in these images, by channel. Nothing is read from a file to know that."""
    settings = context.scene.teamwork
    sizes = [tuple(image.size) for image in maps.values() if image.has_data]
    if not sizes:
        return ""
    more = {"seamless": int(settings.borders_meet), "repeats": settings.repeats}
    return expected_seconds(context, task, tuple(maps), max(sizes), len(maps) + 1, more)


class Synthesize(Task):
    """A material or a picture from words, from maps that there are already, or from nothing but the seed"""

    bl_label = "Synthesize"
    task = "synthesize"
    presets = PRESETS["synthesize"]

    def draw(self, context: bpy.types.Context) -> None:
        """The wish and the button."""
        draw_wish(self.layout, context)
        self.draw_button(context, "teamwork.synthesize", "Synthesize", "SHADERFX", expected=expected_synthesis(context))


class Inpaint(Task):
    """The masked part of a picture is made anew"""

    bl_label = "Inpaint"
    task = "inpaint"
    needs = "First open a picture, or show one here"
    presets = PRESETS["inpaint"]

    def draw(self, context: bpy.types.Context) -> None:
        """Picture, mask, button."""
        picture = self.draw_picture(context)
        draw_mask(self.layout, context, of_material=False, picture=picture)
        line = expected_inpainting(context, self.task, {"image": picture} if picture else {})
        self.draw_button(context, "teamwork.inpaint", "Inpaint", "BRUSH_DATA", picture, ready=picture is not None, expected=line)


class InpaintMaterial(Task):
    """The masked part of all maps of the active material is made anew, together"""

    bl_label = "Inpaint Material"
    task = "inpaint"
    presets = PRESETS["inpaint"]

    def draw(self, context: bpy.types.Context) -> None:
        """Material, mask, button."""
        maps, told = _active_maps(context)
        say(self.layout, context, told, "MATERIAL")
        draw_mask(self.layout, context, of_material=True, picture=None)
        line = expected_inpainting(context, self.task, maps)
        button = self.draw_button(
            context, "teamwork.inpaint", "Inpaint Material", "BRUSH_DATA", ready=bool(maps), expected=line
        )
        button.active_material = True


def _active_maps(context: bpy.types.Context) -> tuple[dict[str, bpy.types.Image], str]:
    """The images of the active material by channel, and what there is to say of them; none where they cannot be inpainted."""
    material = getattr(context.object, "active_material", None) if context.object else None
    if material is None:
        return {}, "Choose an object with a material"
    try:
        maps = maps_of(material)
    except ImageError as error:
        return {}, str(error)
    return maps, f"{material.name}: {len(maps)} map{'s' if len(maps) > 1 else ''}"
