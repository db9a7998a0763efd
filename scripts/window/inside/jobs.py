# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs in the panels: progress and preview, cancel, a material in the Shader Editor, a decomposition in the Image Editor."""

from __future__ import annotations

import bpy

from .panels import start_engine
from .stage import Stage, Waits

STEPS, ENDLESS, STEPS_BACK = 16, 200, 4
"""Enough that there is time to look, and more than can be through before it is cancelled; of the zoom, until all nodes are seen."""


def play(stage: Stage) -> Waits:
    """A job that is cancelled, one that lands, one from the Image Editor."""
    yield from start_engine(stage)
    settings = bpy.context.scene.teamwork
    settings.picture = bpy.data.images.load(stage.job["photo"])
    yield from stage.edit("VIEW_3D")
    yield from stage.shot("ready_for_a_photo")
    yield from _cancelled(stage)
    yield from _material(stage)
    yield from _shader_editor(stage)
    yield from _decomposed(stage)


def _begin(stage: Stage, operator: str, shot: str) -> Waits:
    """Click a task's button; take a picture of the job at work, with its preview; gives the job."""
    jobs, previews = stage.part("jobs"), stage.part("previews")
    before = len(jobs.JOBS)
    yield from stage.click(operator)
    yield from stage.until(lambda: len(jobs.JOBS) > before, 10.0)
    stage.check(f"the click on {operator} sends a job", len(jobs.JOBS) > before)
    job = jobs.JOBS[-1]
    yield from stage.until(lambda: previews.icon_of(job.job_id) or job.state != jobs.RUNNING, 120.0)
    stage.check("the job shows how far it is", 0.0 < job.factor < 1.0, f"{job.line}, {job.factor:.2f}")
    stage.check("and what comes of it", previews.icon_of(job.job_id) != 0)
    yield from stage.shot(shot)
    return job


def _cancelled(stage: Stage) -> Waits:
    jobs, materials = stage.part("jobs"), len(bpy.data.materials)
    bpy.context.scene.teamwork.steps = ENDLESS
    yield from stage.redraw()
    job = yield from _begin(stage, "teamwork.material_from_image", "running")
    yield from stage.click("teamwork.cancel")
    yield from stage.until(lambda: job.state != jobs.RUNNING, 30.0)
    stage.check("a click on its X ends it", job.state == jobs.CANCELLED, job.line)
    stage.check("and leaves no material behind", len(bpy.data.materials) == materials)
    yield from stage.shot("cancelled")


def _material(stage: Stage) -> Waits:
    jobs, thing = stage.part("jobs"), bpy.context.view_layer.objects.active
    bpy.context.scene.teamwork.steps = 0
    stage.area.spaces.active.shading.type = "MATERIAL"
    yield from stage.redraw()
    before = len(jobs.JOBS)
    yield from stage.click("teamwork.material_from_image")
    yield from stage.until(lambda: len(jobs.JOBS) > before and jobs.JOBS[-1].state != jobs.RUNNING, 180.0)
    job = jobs.JOBS[-1]
    stage.check("the job ends well", job.state == jobs.DONE, job.line)
    made = thing.active_material
    stage.check("the material is on the active object", made is not None and made.name in job.made, made and made.name)
    yield 4.0  # its shader compiles
    yield from stage.shot("material_on_the_object")


def _shader_editor(stage: Stage) -> Waits:
    stage.open_panels("shader", "synthesize", "mend")
    yield from stage.edit("ShaderNodeTree")
    tree = stage.area.spaces.active.edit_tree
    groups = [node.node_tree for node in tree.nodes if node.type == "GROUP"] if tree else []
    images = [node for group in (tree, *groups) if group for node in group.nodes if node.type == "TEX_IMAGE"]
    stage.check("the Shader Editor shows its nodes, with the maps in them", len(images) > 1, f"{len(images)} maps")
    yield from stage.press("Home")
    yield 1.0
    _beside_the_sidebar(stage)
    yield from stage.shot("shader_editor")


def _beside_the_sidebar(stage: Stage) -> None:
    """Move the nodes, which Blender has fitted to the whole editor, out from under its sidebar."""
    with bpy.context.temp_override(window=stage.window, area=stage.area, region=stage.region("WINDOW")):
        for _ in range(STEPS_BACK):
            bpy.ops.view2d.zoom_out()
        bpy.ops.view2d.pan(deltax=stage.region().width // 2)


def _decomposed(stage: Stage) -> Waits:
    jobs = stage.part("jobs")
    stage.open_panels("image", "decompose", "inpaint")
    yield from stage.edit("IMAGE_EDITOR")
    stage.area.spaces.active.image = bpy.context.scene.teamwork.picture
    bpy.context.scene.teamwork.steps = STEPS
    yield from stage.redraw()
    job = yield from _begin(stage, "teamwork.decompose_image", "decomposing")
    yield from stage.until(lambda: job.state != jobs.RUNNING, 180.0)
    stage.check("the decomposition ends well", job.state == jobs.DONE, job.line)
    bpy.context.scene.teamwork.steps = 0
    normals = next((image for image in bpy.data.images if image.get("teamwork_channel") == "normals"), None)
    stage.check("its normals are an image", normals is not None and normals.size[0] > 0)
    stage.area.spaces.active.image = normals
    yield from stage.shot("decomposed")
