# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces that several panels draw: sentences, the engine's state and its one next step. Draws only."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import bpy

from . import expectation, setting_up
from .engine import LINK
from .settings import engine_settings

LETTER_WIDTH = 6.5
"""Pixels that a letter takes on average at 100 % interface scale."""
BUTTON_LETTERS = 4
"""Letters that a button with an icon alone takes the place of."""
GIGABYTE = 1e9
ABILITIES = {
    "material": "make materials from photos",
    "decompose": "take pictures apart",
    "shade": "shade renders",
    "synthesize": "make up anything by itself",
    "inpaint": "fill in what is masked",
}
"""By task, what a model can or cannot do."""


def say(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str = "NONE", buttons: int = 0) -> None:
    """A sentence, in as many lines as it takes: a label would cut it off. `buttons`: how many icons stand beside it."""
    width = context.region.width if context.region else 300
    scale = context.preferences.system.ui_scale or 1.0  # 0 without a window
    letters = max(16, int(width / (LETTER_WIDTH * scale)) - 8 - BUTTON_LETTERS * buttons)
    column = layout.column(align=True)
    column.scale_y = 0.85
    for number, line in enumerate(textwrap.wrap(text, letters, break_on_hyphens=False)):
        column.label(text=line, icon=icon if number == 0 or icon == "NONE" else "BLANK1", translate=False)


def draw_next_step(layout: bpy.types.UILayout, context: bpy.types.Context, *, among_preferences: bool = False) -> None:
    """The engine's state in words, and the one thing to do next, as a large button; elsewhere than among the add-on's
    preferences also the way there."""
    if setting_up.running():
        draw_set_up(layout, context)
    elif LINK.connected:
        _draw_connected(layout, context)
    else:
        _draw_apart(layout, context, among_preferences)


def fill(operator: bpy.types.OperatorProperties, settings, picture: bpy.types.Image | None = None) -> None:
    """Give an operator those of its properties that the panel's settings have, and the picture."""
    for name in set(settings.bl_rna.properties.keys()) & set(operator.bl_rna.properties.keys()) - {"rna_type", "name"}:
        value = getattr(settings, name)
        if settings.bl_rna.properties[name].type == "POINTER":
            value = value.name if value else ""
        setattr(operator, name, value)
    if picture is not None:
        operator.image = picture.name


def draw_model(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Which model works, its licence, and what it needs."""
    settings = context.scene.teamwork
    layout.prop(settings, "model")
    model = LINK.model(settings.model)
    if model is not None:
        say(layout, context, f"Licence {model.licence}")
        say(layout, context, f"Needs {model.memory_bytes / GIGABYTE:.1f} GB of memory")
    elif LINK.welcome:
        absent = f"The engine had no model {settings.model!r} when it was asked"
        say(layout, context, f"{absent}: choose another, or press the arrows above to ask it anew.", "ERROR")


def draw_ability(layout: bpy.types.UILayout, context: bpy.types.Context, task: str) -> bool:
    """Can the chosen model do a task, as far as the engine has told? If not, a sentence says which could."""
    model = LINK.model(context.scene.teamwork.model)
    if model is None or task in model.tasks:
        return True
    able = [each.name for each in LINK.welcome.models if task in each.tasks]
    others = f": choose {' or '.join(able)}" if able else ", nor can any other model of this engine: add one that can"
    say(layout, context, f"The model {model.name} cannot {ABILITIES[task]}{others}.", "INFO")
    return False


def expected_seconds(
    context, task: str, outputs, size: tuple[int, int], inputs: int = 1, more: Mapping[str, int] | None = None, times: int = 1
) -> str:
    """About how long a task takes, so many times over, as a line; empty where there is nothing to say. `more` are options
    beside those that every task has."""
    settings = context.scene.teamwork
    if not LINK.welcome or 0 in size:
        return ""
    options = {"steps": settings.steps, "size": settings.size} | dict(more or {})
    seconds = expectation.seconds(task, settings.model, outputs, options, size, inputs)
    return "The first run shows how long it takes" if seconds is None else f"About {duration(seconds * times)}"


def duration(seconds: float) -> str:
    """12 s, 3 min, 1.5 h."""
    if seconds < 90.0:
        return f"{max(1.0, seconds):.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 5400.0 else f"{seconds / 3600.0:.1f} h"


def _draw_connected(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    say(layout, context, LINK.state(), "LINKED" if LINK.welcome else "TIME")
    if LINK.welcome is None:
        layout.operator("teamwork.disconnect", text="Cancel", icon="X")
        return
    if LINK.moved:
        say(layout, context, "The preferences name another engine or device: jobs go there as soon as none is running here.", "INFO")
    told = LINK.session.status or LINK.welcome
    if told and told.memory_total:
        free, total = told.memory_free / GIGABYTE, told.memory_total / GIGABYTE
        layout.progress(factor=1.0 - free / total, text=f"{free:.1f} of {total:.1f} GB memory free")
    if LINK.unloaded:
        say(layout, context, LINK.unloaded.sentence)
    row = layout.row(align=True)
    row.operator("teamwork.unload")
    row.operator("teamwork.test_engine", text="", icon="FILE_REFRESH")
    row.operator("teamwork.disconnect", text="", icon="QUIT")


def _draw_apart(layout: bpy.types.UILayout, context: bpy.types.Context, among_preferences: bool) -> None:
    elsewhere, addressed = engine_settings().elsewhere, bool(engine_settings().address)
    absent = not elsewhere and setting_up.missing()
    ended = setting_up.Current.setup
    if ended is not None and ended.sentence:
        say(layout, context, ended.sentence, "CHECKMARK" if ended.state == "done" else "ERROR")
    if LINK.problem:
        say(layout, context, LINK.problem, "ERROR")
    elif absent:
        say(layout, context, "Pictures are computed by an engine beside Blender. It has to be set up once.", "INFO")
    elif elsewhere and not addressed:
        say(layout, context, "Give the address of an engine that somebody has started.", "INFO")
    elif elsewhere or ended is None:
        say(layout, context, "Not connected" if elsewhere else LINK.state(), "UNLINKED")
    row = layout.row(align=True)
    row.scale_y = 1.4
    _draw_button(row, elsewhere, absent)
    if not among_preferences:
        row.operator("preferences.addon_show", text="", icon="PREFERENCES").module = __package__


def _draw_button(row: bpy.types.UILayout, elsewhere: bool, absent: bool) -> None:
    if absent:
        row.operator("teamwork.set_up", icon="IMPORT")
    elif setting_up.outdated() and not elsewhere:
        row.operator("teamwork.set_up", text="Update Engine", icon="FILE_REFRESH")
    elif elsewhere:
        row.operator("teamwork.test_engine", text="Test Again" if LINK.problem else "Connect", icon="LINKED")
    else:
        row.operator("teamwork.connect", text="Try Again" if LINK.problem else "Start Engine", icon="PLAY")


def draw_set_up(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """How far the set-up is, with its Cancel; without one, the button that does it once more."""
    setup = setting_up.running()
    if setup is not None:
        progress = setup.progress
        layout.label(text=f"Setting up the engine, step {progress.step} of {progress.steps}", icon="IMPORT")
        say(layout, context, progress.line)
        row = layout.row(align=True)
        row.progress(factor=progress.factor, text=f"{progress.factor:.0%}")
        row.operator("teamwork.cancel_set_up", text="", icon="X")
    elif not setting_up.missing():
        layout.operator("teamwork.set_up", text="Set Up Again", icon="IMPORT")
