# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of which 0 leaves the choice to the model, as panels show them: a tick, and only then a number.

The tick is no setting of its own: it tells whether the numbers are 0, and sets them. Scripts and presets see numbers alone.
"""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty

from .engine import LINK

NUMBERS = {"steps": ("steps",), "size": ("size",), "guidance": ("guidance",), "extent": ("width", "height")}
"""By what each tick is called after "own_": the settings that go with it."""
USUAL = {"steps": 20, "size": 512, "guidance": 5.0, "extent": 512}
"""Where they start, unless the engine has told what the model has."""
OF_MODEL = {"steps": "default_steps", "size": "native_size", "extent": "native_size"}
AS_THE_MODEL = "As the model"


def _tick(number: str, title: str) -> BoolProperty:
    def chosen(settings: bpy.types.PropertyGroup) -> bool:
        return any(getattr(settings, name) for name in NUMBERS[number])

    def choose(settings: bpy.types.PropertyGroup, own: bool) -> None:
        for name in NUMBERS[number]:
            setattr(settings, name, _start(settings, number) if own else 0)

    why = f"Choose the {title.lower()} yourself; without, it is what the model was made for"
    return BoolProperty(name=title, description=why, get=chosen, set=choose, options=set())


def _start(settings: bpy.types.PropertyGroup, number: str) -> float:
    """What the model has, as far as is known."""
    return getattr(LINK.model(settings.model), OF_MODEL.get(number, ""), 0) or USUAL[number]


class OwnNumbers:
    """Ticks of what every task has; mixed into settings that have a model, steps and a size."""

    __annotations__ = {"own_steps": _tick("steps", "Steps"), "own_size": _tick("size", "Working Size")}


class OwnSynthesis:
    """Ticks of what only Synthesize has."""

    __annotations__ = {"own_guidance": _tick("guidance", "Guidance"), "own_extent": _tick("extent", "Size")}


def draw_number(column: bpy.types.UILayout, settings: bpy.types.PropertyGroup, number: str) -> None:
    """The tick, and beside it the number or whose choice it is; two numbers come below it."""
    tick, names = f"own_{number}", NUMBERS[number]
    row = column.row(heading=settings.bl_rna.properties[tick].name)
    row.prop(settings, tick, text="")
    if not getattr(settings, tick):
        row.label(text=AS_THE_MODEL)
    elif len(names) == 1:
        row.prop(settings, names[0], text="")
    else:
        row.label(text="")
        both = column.column(align=True)
        for name in names:
            both.prop(settings, name)
