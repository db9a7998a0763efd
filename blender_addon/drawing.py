# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces that several panels draw: sentences, the engine's state and its one next step. Draws only."""

from __future__ import annotations

import textwrap

import bpy

from . import setting_up
from .engine import LINK
from .settings import engine_settings

LETTER_WIDTH = 6.5
"""Pixels that a letter takes on average at 100 % interface scale."""
GIGABYTE = 1e9


def say(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str = "NONE") -> None:
    """A sentence, in as many lines as it takes: a label would cut it off."""
    width = context.region.width if context.region else 300
    letters = max(16, int(width / (LETTER_WIDTH * context.preferences.system.ui_scale)) - 8)
    column = layout.column(align=True)
    column.scale_y = 0.85
    for number, line in enumerate(textwrap.wrap(text, letters)):
        column.label(text=line, icon=icon if number == 0 or icon == "NONE" else "BLANK1")


def draw_next_step(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The engine's state in words, and the one thing to do next, as a large button."""
    if setting_up.running():
        draw_set_up(layout, context)
    elif LINK.connected:
        _draw_connected(layout, context)
    else:
        _draw_apart(layout, context)


def _draw_connected(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    say(layout, context, LINK.state(), "LINKED" if LINK.welcome else "TIME")
    if LINK.welcome and LINK.welcome.memory_total:
        free, total = LINK.welcome.memory_free / GIGABYTE, LINK.welcome.memory_total / GIGABYTE
        layout.progress(factor=1.0 - free / total, text=f"{free:.1f} of {total:.1f} GB free")
    if LINK.unloaded:
        say(layout, context, LINK.unloaded.sentence)
    row = layout.row(align=True)
    row.operator("teamwork.unload")
    row.operator("teamwork.test_engine", text="", icon="FILE_REFRESH")
    row.operator("teamwork.disconnect", text="", icon="X")


def _draw_apart(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    elsewhere = engine_settings().elsewhere
    absent = not elsewhere and setting_up.missing()
    ended = setting_up.Current.setup
    if ended is not None and ended.sentence:
        say(layout, context, ended.sentence, "CHECKMARK" if ended.state == "done" else "ERROR")
    if LINK.problem:
        say(layout, context, LINK.problem, "ERROR")
    elif absent:
        say(layout, context, "Pictures are computed by an engine beside Blender. It has to be set up once.", "INFO")
    elif ended is None:
        say(layout, context, LINK.state(), "UNLINKED")
    _draw_button(layout, elsewhere, absent)


def _draw_button(layout: bpy.types.UILayout, elsewhere: bool, absent: bool) -> None:
    row = layout.row(align=True)
    row.scale_y = 1.4
    if absent:
        row.operator("teamwork.set_up", icon="IMPORT")
    elif setting_up.outdated() and not elsewhere:
        row.operator("teamwork.set_up", text="Update Engine", icon="FILE_REFRESH")
    elif elsewhere:
        row.operator("teamwork.test_engine", text="Test Again" if LINK.problem else "Connect", icon="LINKED")
    else:
        row.operator("teamwork.connect", text="Try Again" if LINK.problem else "Start Engine", icon="PLAY")
    row.operator("preferences.addon_show", text="", icon="PREFERENCES").module = __package__


def draw_set_up(layout: bpy.types.UILayout, context: bpy.types.Context, *, always: bool = False) -> None:
    """How far the set-up is, with its Cancel; `always`: without one, the button that begins it."""
    setup = setting_up.running()
    if setup is not None:
        progress = setup.progress
        layout.label(text=f"Setting up the engine, step {progress.step} of {progress.steps}", icon="IMPORT")
        say(layout, context, progress.line)
        row = layout.row(align=True)
        row.progress(factor=progress.factor, text=f"{progress.factor:.0%}")
        row.operator("teamwork.cancel_set_up", text="", icon="X")
    elif always:
        layout.operator("teamwork.set_up", text="Set Up" if setting_up.missing() else "Set Up Again", icon="IMPORT")
