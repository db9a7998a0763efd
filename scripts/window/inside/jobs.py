# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs in the panels: progress and preview, cancel, a material in the Shader Editor, a decomposition in the Image Editor."""

from __future__ import annotations

import bpy
import numpy as np

from .panels import start_engine
from .stage import Stage, Waits, xdotool

SLOW, LESS_SLOW, STEPS_BACK = 2048, 768, 4
"""Sides of a photo that takes long enough to look at the job and to cancel it, or only to look; steps of the zoom, until all
nodes are seen."""
LARGE = 2048
"""Pixels a side of the picture that is painted on."""


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
    yield from _mask(stage)


def slow_down(stage: Stage, side: int = SLOW) -> bpy.types.Image | None:
    """Take the photo in so many pixels, all of which the network sees; gives the picture that was chosen before."""
    settings = bpy.context.scene.teamwork
    before, settings.picture = settings.picture, bpy.data.images.load(stage.job["photo"])
    settings.picture.name = "wall.png"
    settings.picture.scale(side, side)
    settings.size = side
    return before


def speed_up(before: bpy.types.Image | None) -> None:
    """As it was before."""
    settings = bpy.context.scene.teamwork
    bpy.data.images.remove(settings.picture)
    settings.picture, settings.size = before, 0


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
    before = slow_down(stage)
    yield from stage.redraw()
    job = yield from _begin(stage, "teamwork.material_from_image", "running")
    yield from stage.click("teamwork.cancel")
    yield from stage.until(lambda: job.state != jobs.RUNNING, 90.0)
    stage.check("a click on its X ends it", job.state == jobs.CANCELLED, job.line)
    stage.check("and leaves no material behind", len(bpy.data.materials) == materials)
    yield from stage.shot("cancelled")
    speed_up(before)


def _material(stage: Stage) -> Waits:
    jobs, thing = stage.part("jobs"), bpy.context.view_layer.objects.active
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
    before = slow_down(stage, LESS_SLOW)
    stage.area.spaces.active.image = bpy.context.scene.teamwork.picture
    yield from stage.redraw()
    job = yield from _begin(stage, "teamwork.decompose_image", "decomposing")
    yield from stage.until(lambda: job.state != jobs.RUNNING, 300.0)
    stage.check("the decomposition ends well", job.state == jobs.DONE, job.line)
    normals = next((image for image in bpy.data.images if image.get("teamwork_channel") == "normals"), None)
    stage.check("its normals are an image", normals is not None and normals.size[0] > 0)
    stage.area.spaces.active.image = normals
    yield from stage.shot("decomposed")
    speed_up(before)


def _mask(stage: Stage) -> Waits:
    """Paint Mask: Blender goes on meanwhile, and then the picture is there to be painted on, with an eraser."""
    settings = bpy.context.scene.teamwork
    picture = bpy.data.images.load(stage.job["photo"])
    picture.name = "Large"
    picture.scale(LARGE, LARGE)
    stage.area.spaces.active.image = settings.picture = picture
    yield from stage.redraw()
    yield from stage.click("teamwork.paint_mask")
    yield from stage.until(lambda: settings.mask is not None, 60.0)
    mask = settings.mask
    stage.check("Paint Mask makes a mask of the picture's size", mask is not None and tuple(mask.size) == (LARGE, LARGE))
    if mask is None:
        return
    off = float(np.abs(_pixels(mask) - _pixels(picture))[:, :3].max())
    stage.check("which shows the picture", off < 0.01, f"{off:.4f} off")
    space = stage.area.spaces.active
    stage.check("and it is there to be painted on", space.image == mask and space.ui_mode == "PAINT")
    yield from stage.shot("mask")
    if bpy.context.tool_settings.image_paint.brush is None:
        print("Nothing can be painted: this distribution's Blender comes without brushes", flush=True)
        _erase_by_script(mask)
    else:
        yield from _erase(stage)
        erased = float((_pixels(mask)[:, 3] < 0.5).mean())
        stage.check("a stroke over it erases", 0.0 < erased < 0.5, f"{erased:.2%} erased")
        yield from stage.shot("mask_erased")
    yield from _mended(stage, picture, mask)
    space.ui_mode, space.image, settings.picture, settings.mask = "VIEW", None, bpy.data.images.get("bricks.png"), None
    for image in (mask, picture):
        bpy.data.images.remove(image)


def _erase_by_script(mask: bpy.types.Image) -> None:
    """A box in its middle."""
    pixels = _pixels(mask).reshape(LARGE, LARGE, 4)
    pixels[LARGE // 3 : LARGE // 2, LARGE // 3 : LARGE // 2, 3] = 0.0
    mask.pixels.foreach_set(pixels.reshape(-1))


def _mended(stage: Stage, picture: bpy.types.Image, mask: bpy.types.Image) -> Waits:
    """A click on Inpaint makes what was erased anew, and nothing else."""
    jobs = stage.part("jobs")
    before, erased = len(jobs.JOBS), _pixels(mask)[:, 3] < 0.5
    yield from stage.click("teamwork.inpaint")
    yield from stage.until(lambda: len(jobs.JOBS) > before and jobs.JOBS[-1].state != jobs.RUNNING, 300.0)
    job = jobs.JOBS[-1]
    stage.check("Inpaint ends well", len(jobs.JOBS) > before and job.state == jobs.DONE, job.line)
    made = next((bpy.data.images[name] for name in job.made if name in bpy.data.images), None)
    if made is None:
        return
    off = np.abs(_pixels(made) - _pixels(picture))[:, :3].max(-1)
    untouched = float((off[_pixels(mask)[:, 3] == 1.0] < 0.01).mean())
    good = off[erased].mean() > 0.005 and untouched > 0.999
    stage.check("what was erased is new, and the rest as it was", good, f"{untouched:.2%} as it was")
    space = stage.area.spaces.active
    space.ui_mode, space.image = "VIEW", made
    yield from stage.shot("mended")
    bpy.data.images.remove(made)


def _pixels(image: bpy.types.Image) -> np.ndarray:
    """As Blender holds them, four components each."""
    values = np.empty(4 * image.size[0] * image.size[1], np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(-1, 4)


def _erase(stage: Stage) -> Waits:
    """A stroke across the middle, by hand."""
    window = stage.region("WINDOW")
    yield from stage.point(window.x + window.width * 0.45, window.y + window.height * 0.5)
    xdotool("mousedown", "1")
    for far in range(1, 9):
        yield from stage.point(window.x + window.width * (0.45 + 0.01 * far), window.y + window.height * (0.5 + 0.01 * far))
    xdotool("mouseup", "1")
    yield 0.5
