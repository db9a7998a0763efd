# SPDX-License-Identifier: GPL-3.0-or-later
"""Every task's panel in German, whose words are long: what Blender translates by itself must still be read."""

from __future__ import annotations

import bpy

from .panels import start_engine
from .stage import Stage, Waits

LANGUAGE = "de_DE"
SHOWN = (
    ("view3d", "VIEW_3D", ("engine", "material", "material_advanced")),
    ("view3d", "VIEW_3D", ("render", "synthesize", "mend")),
    ("image", "IMAGE_EDITOR", ("decompose", "inpaint", "results")),
)
"""An editor by our name and by Blender's, and the panels that are shown alone."""


def play(stage: Stage) -> Waits:
    """Each panel, and a job that is sent by a click as in any language."""
    yield from start_engine(stage)
    view, jobs = bpy.context.preferences.view, stage.part("jobs")
    known = LANGUAGE in bpy.app.translations.locales
    stage.check("this Blender speaks German", known)
    if not known:
        return
    before, settings = view.language, bpy.context.scene.teamwork
    view.language, view.use_translate_interface = LANGUAGE, True
    settings.picture = settings.picture or bpy.data.images.load(stage.job["photo"])
    for editor, kind, tasks in SHOWN:
        yield from _photographed(stage, editor, kind, tasks)
    yield from stage.edit("VIEW_3D")
    sent = len(jobs.JOBS)
    yield from stage.click("teamwork.material_from_image")
    yield from stage.until(lambda: len(jobs.JOBS) > sent and jobs.JOBS[-1].state != jobs.RUNNING, 180.0)
    good = len(jobs.JOBS) > sent and jobs.JOBS[-1].state == jobs.DONE
    stage.check("a job that is sent in German ends well", good, jobs.JOBS[-1].line if jobs.JOBS else "")
    view.language = before
    yield from stage.redraw()


def _photographed(stage: Stage, editor: str, kind: str, tasks: tuple[str, ...]) -> Waits:
    with stage.panels_alone(editor, *tasks):
        yield from stage.edit(kind)
        if kind == "IMAGE_EDITOR":
            stage.area.spaces.active.image = bpy.context.scene.teamwork.picture
        yield from stage.shot(f"german_{'_'.join(tasks)}")
