# SPDX-License-Identifier: GPL-3.0-or-later
"""Every task's panel in German, whose words are long: what Blender translates by itself must still be read. And jobs in
languages that give other names to new things."""

from __future__ import annotations

import bpy

from .panels import start_engine
from .stage import Stage, Waits

LANGUAGE, OTHERS = "de_DE", ("ja_JP",)
"""Whose panels are photographed, and others in which a job is sent."""
SHOWN = (
    ("view3d", "VIEW_3D", ("engine", "material", "material_advanced")),
    ("view3d", "VIEW_3D", ("render", "synthesize", "mend")),
    ("image", "IMAGE_EDITOR", ("decompose", "inpaint", "results")),
)
"""An editor by our name and by Blender's, and the panels that are shown alone."""


def play(stage: Stage) -> Waits:
    """Each panel, and in each language a job that is sent by a click."""
    yield from start_engine(stage)
    view, settings = bpy.context.preferences.view, bpy.context.scene.teamwork
    settings.picture = settings.picture or bpy.data.images.load(stage.job["photo"])
    before = view.language
    for language in (LANGUAGE, *OTHERS):
        known = language in bpy.app.translations.locales
        stage.check(f"this Blender speaks {language}", known)
        if not known:
            continue
        view.language = language
        view.use_translate_interface = view.use_translate_tooltips = view.use_translate_new_dataname = True
        for editor, kind, tasks in SHOWN if language == LANGUAGE else ():
            yield from _photographed(stage, editor, kind, tasks)
        yield from _made(stage, language)
    view.language = before
    yield from stage.redraw()


def _made(stage: Stage, language: str) -> Waits:
    """A material on an object that has its name from this language, and beside it a material whose nodes have."""
    jobs = stage.part("jobs")
    bpy.ops.mesh.primitive_cube_add()
    thing = bpy.context.object
    yield from stage.edit("VIEW_3D")
    sent = len(jobs.JOBS)
    yield from stage.click("teamwork.material_from_image")
    yield from stage.until(lambda: len(jobs.JOBS) > sent and jobs.JOBS[-1].state != jobs.RUNNING, 180.0)
    good = len(jobs.JOBS) > sent and jobs.JOBS[-1].state == jobs.DONE
    stage.check(f"a job that is sent in {language} ends well", good, jobs.JOBS[-1].line if jobs.JOBS else "")
    material = thing.active_material
    fed = {link.to_socket.identifier for link in material.node_tree.links if link.to_node.type == "BSDF_PRINCIPLED"} if material else set()
    whole = {"Base Color", "Metallic", "Roughness", "Normal"} <= fed
    stage.check(f"and its maps reach their sockets, on what is called {thing.name}", whole, ", ".join(sorted(fed)))
    bpy.data.objects.remove(thing)
    bpy.context.view_layer.objects.active = bpy.context.scene.objects["Cube"]


def _photographed(stage: Stage, editor: str, kind: str, tasks: tuple[str, ...]) -> Waits:
    with stage.panels_alone(editor, *tasks):
        yield from stage.edit(kind)
        if kind == "IMAGE_EDITOR":
            stage.area.spaces.active.image = bpy.context.scene.teamwork.picture
        yield from stage.shot(f"german_{'_'.join(tasks)}")
