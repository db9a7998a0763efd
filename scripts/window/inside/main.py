# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender --python main.py -- job.json`: installs the extension, goes through the parts, writes the report, quits."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from scripts.window.inside import failing, jobs, languages, panels, quitting, render, view  # noqa: E402
from scripts.window.inside.stage import Stage, install_extension  # noqa: E402

PARTS = {
    "panels": panels.play,
    "jobs": jobs.play,
    "view": view.play,
    "languages": languages.play,
    "render": render.play,
    "failing": failing.play,
    "quitting": quitting.play,
}


def install(job: dict) -> None:
    """A Blender without a splash screen, and the extension."""
    preferences = bpy.context.preferences
    preferences.view.show_splash = False
    preferences.view.render_display_type = "NONE"
    preferences.view.use_save_prompt = False
    install_extension(job)


def play(stage: Stage):
    """All parts, or those that were asked for."""
    wanted = [name for name in stage.job["only"].split(",") if name]
    for name, part in PARTS.items():
        if not wanted or name in wanted:
            print(f"== {name}", flush=True)
            yield from part(stage)


def main() -> None:
    """Have a timer go through the parts."""
    job = json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text("utf-8"))
    install(job)
    stage = Stage(job)
    steps = play(stage)

    def tick() -> float | None:
        try:
            return next(steps)
        except StopIteration:
            stage.finish()
            bpy.ops.wm.quit_blender()
        except Exception:
            traceback.print_exc()
            stage.check("no step of the test itself broke", False, traceback.format_exc().strip().splitlines()[-1])
            stage.write()
            sys.stdout.flush()
            os._exit(3)
        return None

    bpy.app.timers.register(tick, first_interval=2.0, persistent=True)


main()
