# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel before there is an engine, while it starts, and when it is there."""

from __future__ import annotations

import bpy

from .stage import ADDON, Stage, Waits, xdotool


def play(stage: Stage) -> Waits:
    """Not set up, stopped, starting, connected; the preferences; an engine elsewhere that does not answer."""
    yield from stage.edit("VIEW_3D")
    stage.check("the sidebar has a tab Teamwork", stage.region().active_panel_category == "Teamwork")
    yield from _not_set_up(stage)
    yield from _preferences(stage)
    yield from _wrong_address(stage)
    yield from start_engine(stage, shots=True)


def _not_set_up(stage: Stage) -> Waits:
    yield from stage.shot("not_set_up")
    found = yield from stage.buttons("preferences.addon_show")
    stage.check("without an engine there is a button that sets it up", "teamwork.set_up" in found, ", ".join(found))
    stage.check("and none that would start it", "teamwork.connect" not in found)
    yield from stage.click("teamwork.set_up")
    yield from stage.shot("set_up_asks")
    stage.check("setting up asks before it downloads", stage.part("setting_up").running() is None)
    xdotool_escape(stage)
    yield 0.3


def _preferences(stage: Stage) -> Waits:
    """The add-on's own, as one finds them in Blender's: for an engine here, not set up yet, and for one elsewhere."""
    chosen, before = stage.preferences, stage.area.ui_type
    stage.area.ui_type = "PREFERENCES"
    bpy.context.preferences.active_section, bpy.context.window_manager.addon_search = "ADDONS", "Teamwork"
    with bpy.context.temp_override(window=stage.window, area=stage.area, region=stage.region("WINDOW")):
        bpy.ops.preferences.addon_expand(module=ADDON)
    yield from stage.shot("preferences")
    found = yield from stage.buttons("teamwork.set_up", "WINDOW")
    stage.check("its preferences offer to set it up", "teamwork.set_up" in found, ", ".join(found))
    chosen.place = "ELSEWHERE"
    yield from stage.shot("preferences_elsewhere")
    chosen.place = "HERE"
    with bpy.context.temp_override(window=stage.window, area=stage.area, region=stage.region("WINDOW")):
        bpy.ops.preferences.addon_expand(module=ADDON)
    stage.area.ui_type = before
    yield from stage.edit("VIEW_3D")


def xdotool_escape(stage: Stage) -> None:
    """Close what has popped up."""
    xdotool("key", "Escape")


def _wrong_address(stage: Stage) -> Waits:
    preferences, link = stage.preferences, stage.part("engine").LINK
    preferences.place, preferences.address, preferences.timeout = "ELSEWHERE", "127.0.0.1:9", 2.0
    yield from stage.redraw()
    yield from stage.click("teamwork.test_engine")
    yield from stage.until(lambda: link.problem, 15.0)
    yield from stage.shot("wrong_address")
    stage.check("an address where nothing listens gets a sentence", link.problem.endswith("."), link.problem)
    preferences.place, preferences.timeout = "HERE", 10.0
    link.disconnect()


def start_engine(stage: Stage, shots: bool = False) -> Waits:
    """Press Start Engine unless it runs, and wait until it is ready."""
    link, jobs = stage.part("engine").LINK, stage.part("jobs")
    if link.connected and link.welcome:
        return
    stage.preferences.engine_python = stage.job["python"]
    yield from stage.edit("VIEW_3D")
    if shots:
        yield from stage.shot("stopped")
    yield from stage.click("teamwork.connect")
    stage.check("the click starts an engine", link.started is not None and link.started.running)
    if shots:
        yield from stage.shot("starting")
    yield from stage.until(lambda: link.welcome or link.problem, 90.0)
    yield from stage.redraw()
    stage.check("the engine answers", link.welcome is not None, link.state())
    if shots:
        stage.check("the timer runs only while something is waited for", not jobs.bpy.app.timers.is_registered(jobs.tick))
        yield from stage.shot("connected")
