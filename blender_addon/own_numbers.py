# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of which 0 leaves the choice to the model, as panels show them: a tick that says so, or a number.

The tick is no setting of its own: it tells whether the numbers are 0, and sets them. Scripts and presets see numbers alone.
"""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty

from .engine import LINK

NUMBERS = {"steps": ("steps",), "size": ("size",), "guidance": ("guidance",), "extent": ("width", "height")}
"""By what each tick is called after "model_": the settings that go with it."""
USUAL = {"steps": 20, "size": 512, "guidance": 5.0, "extent": 512}
"""Where they start, unless the engine has told what the model has."""
OF_MODEL = {"steps": "default_steps", "size": "native_size", "extent": "native_size"}
AS_THE_MODEL = "As the Model"


def _tick(number: str, title: str) -> BoolProperty:
    def chosen(settings: bpy.types.PropertyGroup) -> bool:
        return not any(getattr(settings, name) for name in NUMBERS[number])

    def choose(settings: bpy.types.PropertyGroup, by_model: bool) -> None:
        for name in NUMBERS[number]:
            setattr(settings, name, 0 if by_model else _start(settings, number))

    why = f"{title}: what the model was made for. Without, you give it yourself"
    return BoolProperty(name=title, description=why, get=chosen, set=choose, options=set())


def _start(settings: bpy.types.PropertyGroup, number: str) -> float:
    """What the model has, as far as is known."""
    return getattr(LINK.model(settings.model), OF_MODEL.get(number, ""), 0) or USUAL[number]


class OwnNumbers:
    """Ticks of what every task has; mixed into settings that have a model, steps and a size."""

    __annotations__ = {"model_steps": _tick("steps", "Steps"), "model_size": _tick("size", "Working Size")}


class OwnSynthesis:
    """Ticks of what only Synthesize has."""

    __annotations__ = {"model_guidance": _tick("guidance", "Guidance"), "model_extent": _tick("extent", "Size")}


def draw_number(column: bpy.types.UILayout, settings: bpy.types.PropertyGroup, number: str) -> None:
    """The tick, and beside it the number, if there is one; two numbers come below it."""
    tick, names = f"model_{number}", NUMBERS[number]
    by_model = getattr(settings, tick)
    row = column.row(heading=settings.bl_rna.properties[tick].name)
    row.prop(settings, tick, text=AS_THE_MODEL if by_model or len(names) > 1 else "")
    if by_model:
        return
    if len(names) == 1:
        row.prop(settings, names[0], text="")
        return
    both = column.column(align=True)
    for name in names:
        both.prop(settings, name)
