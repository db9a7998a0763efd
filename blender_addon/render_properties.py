# SPDX-License-Identifier: GPL-3.0-or-later
"""What renders with neural passes need to know: which passes each view layer has, and how the scene's are made."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from .neural_passes import NEURAL
from .own_numbers import OwnNumbers
from .properties import offered_models

WITHOUT_ENGINE = (
    ("STOP", "End the Render", "The render ends and says in one sentence what is wrong"),
    ("SKIP", "Render Without", "Cycles renders all the same; the neural passes stay empty, and a warning says why"),
)


def _on_passes_changed(settings: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """Give the compositor's Render Layers nodes their sockets."""
    for layer in settings.id_data.view_layers:
        if layer.teamwork == settings:
            layer.update_render_passes()


def _on_reuse_changed(settings: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """Motion vectors are rendered as long as frames are reused."""
    for layer in settings.id_data.view_layers:
        layer.update_render_passes()


class TeamworkLayerPasses(bpy.types.PropertyGroup):
    """The neural passes of a view layer, each on or off."""

    __annotations__ = {
        each.setting: BoolProperty(
            name=each.name.removeprefix("Neural "), description=each.description, update=_on_passes_changed
        )
        for each in NEURAL
    }


class TeamworkRenderSettings(OwnNumbers, bpy.types.PropertyGroup):
    """How a scene's neural passes are made."""

    model: StringProperty(
        name="Model", description="Which team makes the passes", default="nano", search=offered_models
    )
    seed: IntProperty(
        name="Seed", description="The noise that every frame starts from: one seed keeps an animation steady", min=0
    )
    steps: IntProperty(name="Steps", description="Denoising steps; 0 lets the model choose", min=0, max=1000)
    size: IntProperty(
        name="Working Size", description="Longest side that the network sees; 0 lets the model choose", min=0, max=4096
    )
    reuse: FloatProperty(
        name="Reuse Previous Frame",
        description="Steadies animations: how much of each pixel comes from the frame before, moved along Cycles' motion "
        "vectors, where the same surface was to be seen in the same light. 0 makes every frame by itself",
        subtype="FACTOR",
        min=0.0,
        max=0.95,
        update=_on_reuse_changed,
    )
    without_engine: EnumProperty(
        name="Without Engine", description="What happens when the engine is away or fails", items=WITHOUT_ENGINE
    )
    timeout: FloatProperty(
        name="Time Limit", description="How long each job of a frame may take", default=3600.0, min=1.0, subtype="TIME_ABSOLUTE"
    )


CLASSES = (TeamworkLayerPasses, TeamworkRenderSettings)


def register() -> None:
    """Give every view layer and every scene its settings."""
    bpy.types.ViewLayer.teamwork = PointerProperty(type=TeamworkLayerPasses)
    bpy.types.Scene.teamwork_render = PointerProperty(type=TeamworkRenderSettings)


def unregister() -> None:
    """Take them away."""
    del bpy.types.Scene.teamwork_render
    del bpy.types.ViewLayer.teamwork
