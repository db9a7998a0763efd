# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Cycles' users look for it: neural passes among the view layer's passes, their making in the render settings.

Draws only.
"""

from __future__ import annotations

import bpy

from .engine import LINK
from .neural_passes import NEURAL
from .own_numbers import draw_number
from .render_engine import CYCLES_PASSES, IDENTIFIER, has_cycles


class _RenderPanel(bpy.types.Panel):
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    COMPAT_ENGINES = {IDENTIFIER}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """For our engine only."""
        return context.engine in cls.COMPAT_ENGINES

    def _column(self) -> bpy.types.UILayout:
        self.layout.use_property_split = True
        self.layout.use_property_decorate = False
        return self.layout.column()


class TEAMWORK_PT_layer_passes(_RenderPanel):
    """Which passes the engine adds to this view layer"""

    bl_idname = "TEAMWORK_PT_layer_passes"
    bl_label = "Neural"
    bl_context = "view_layer"
    bl_parent_id = CYCLES_PASSES

    def draw(self, context: bpy.types.Context) -> None:
        """The picture first, then what is estimated from it."""
        column = self._column()
        picture, *estimates = NEURAL
        settings = context.view_layer.teamwork
        column.prop(settings, picture.setting)
        rest = column.column(heading="Decomposed", align=True)
        for each in estimates:
            rest.prop(settings, each.setting)


class TEAMWORK_PT_render(_RenderPanel):
    """How the neural passes are made"""

    bl_idname = "TEAMWORK_PT_render"
    bl_label = "Teamwork"
    bl_context = "render"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """The model and its options, and what happens without an engine."""
        column = self._column()
        settings = context.scene.teamwork_render
        if not any(getattr(layer.teamwork, each.setting) for layer in context.scene.view_layers for each in NEURAL):
            column.label(text="Choose passes under View Layer, Passes, Neural", icon="INFO")
        for name in ("model", "seed"):
            column.prop(settings, name)
        for number in ("steps", "size"):
            draw_number(column, settings, number)
        for name in ("reuse", "without_engine", "timeout"):
            column.prop(settings, name)
        if LINK.problem:
            column.label(text=LINK.problem, icon="ERROR")


CLASSES = (TEAMWORK_PT_render,)
LAYER_CLASSES = (TEAMWORK_PT_layer_passes,)


def register() -> None:
    """Add the panels; the one inside Cycles' own only where Cycles is."""
    for each in LAYER_CLASSES if has_cycles() else ():
        bpy.utils.register_class(each)


def unregister() -> None:
    """Take them away."""
    for each in LAYER_CLASSES:
        if hasattr(bpy.types, each.bl_idname):
            bpy.utils.unregister_class(each)
