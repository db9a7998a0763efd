# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel of Material from Photo shows: settings, hints on what the model can use, candidates. Draws only."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import bpy

from . import candidates
from .drawing import expected_seconds, say
from .engine import LINK
from .landing import PREFIX
from .material_options import CHANNELS, FLASH, GIVEN, TILINGS
from .wire import ModelInfo

TITLES = {channel: title for channel, title, _ in CHANNELS}


def given_of(settings: bpy.types.PropertyGroup, given: Mapping[str, str] = GIVEN) -> dict[str, bpy.types.Image]:
    """The images that are given, by channel; `given` are the settings that name them."""
    return {channel: image for setting, channel in given.items() if (image := getattr(settings, setting))}


def draw_settings(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is seldom left as it is comes first; the rest is folded away."""
    settings = context.scene.teamwork
    flow = layout.grid_flow(row_major=True, columns=3, even_columns=True, align=True)
    flow.prop(settings, "channels")
    column = layout.column()
    column.use_property_split, column.use_property_decorate = True, False
    column.row().prop(settings, "capture", expand=True)
    if settings.capture == FLASH:
        column.prop(settings, "fov")
    for name in ("seamless", "relief", "candidates", "apply"):
        column.prop(settings, name)
    _draw_slots(layout, context)
    for hint in hints(settings):
        say(layout, context, hint, "INFO")
    draw_given(layout, settings, GIVEN)
    _draw_output(layout, settings)


def _draw_slots(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Blender's own list of slots, where there is a choice: the active one takes the material."""
    thing = context.object
    if context.scene.teamwork.apply and thing is not None and len(thing.material_slots) > 1:
        layout.template_list("MATERIAL_UL_matslots", "teamwork", thing, "material_slots", thing, "active_material_index", rows=2)


def draw_given(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, given: Mapping[str, str]) -> None:
    """The maps that the user has already, folded away; `given` are the settings that name them."""
    header, body = layout.panel("teamwork_given", default_closed=True)
    count = len(given_of(settings, given))
    header.label(text=f"Maps You Have ({count})" if count else "Maps You Have")
    if body:
        for setting in given:
            column = body.column(align=True)
            column.label(text=settings.bl_rna.properties[setting].name)
            column.template_ID(settings, setting, open="image.open")
        if "given_height" in given and settings.given_height:
            body.prop(settings, "height_scale")


def _draw_output(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    header, body = layout.panel("teamwork_output", default_closed=True)
    header.label(text="Size and Files")
    if body:
        body.use_property_split, body.use_property_decorate = True, False
        for name in ("texture_scale", "picture_width", "asset", "folder"):
            body.prop(settings, name)


def hints(settings: bpy.types.PropertyGroup) -> list[str]:
    """What the chosen model makes of the flash and of given maps, as far as the engine has told."""
    model = LINK.model(settings.model)
    if model is None:
        return []
    seen, made = [], "halfway.in" in model.teammates
    if settings.capture == FLASH and not made:
        seen.append(f"{model.title} takes no heed of the flash. Photos in even light suit it best.")
    if settings.capture != FLASH and made:
        seen.append(f"{model.title} was made for photos that are taken with a flash.")
    return [*seen, *unseen_given(model, given_of(settings))]


def unseen_given(model: ModelInfo, given: Collection[str]) -> list[str]:
    """A sentence, if the model has no eyes for some of the channels that are given. A height it sees by its normals."""
    looks = {"height"} if "normals.in" in model.teammates and "normals" not in given else set()
    unseen = [TITLES.get(channel, channel) for channel in given if f"{channel}.in" not in model.teammates and channel not in looks]
    return [f"{model.title} does not look at your {', '.join(unseen)}: that goes into the result as it is."] if unseen else []


def expected(context: bpy.types.Context, picture: bpy.types.Image | None) -> str:
    """About how long all candidates take, as a line; empty where there is nothing to say."""
    settings = context.scene.teamwork
    given = given_of(settings)
    shown = picture or next(iter(given.values()), None)
    if shown is None:
        return ""
    outputs = sorted(set(settings.channels) - set(given))
    more = {"seamless": TILINGS.index(settings.seamless)}
    inputs = (picture is not None) + len(given)
    return expected_seconds(context, "material", outputs, tuple(shown.size), inputs, more, settings.candidates)


def draw_candidates(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The candidates for one place, each on a ball: a click puts it there."""
    material = candidates.shown(context)
    if material is None:
        return
    box = layout.box()
    box.label(text="Candidates", icon="MATERIAL")
    flow = box.grid_flow(row_major=True, columns=3, even_columns=True)
    for each in candidates.siblings(material):
        column = flow.column(align=True)
        if each.preview is not None:
            column.template_icon(icon_value=each.preview.icon_id, scale=4.0)
        text = f"Seed {each.get(PREFIX + 'seed', 0)}"
        button = column.operator("teamwork.choose_candidate", text=text, depress=each == material)
        button.material = each.name
    box.operator("teamwork.keep_candidate", text=f"Keep Only {material.name}", icon="TRASH").material = material.name
