# SPDX-License-Identifier: GPL-3.0-or-later
"""F12 and an animation with the render engine "Teamwork (Cycles)", and its passes in the Image Editor."""

from __future__ import annotations

from pathlib import Path

import bpy

from .panels import start_engine
from .stage import Stage, Waits, xdotool

WIDTH, HEIGHT, SAMPLES = 192, 128, 8
F12 = "96"  # the key by its number: by its name, some versions of xdotool press Alt with it
FRAMES = 3


def play(stage: Stage) -> Waits:
    """The passes are chosen, the picture is rendered, a pass is taken from the menu, three frames are written."""
    yield from start_engine(stage)
    _scene(stage)
    yield from _passes_panel(stage)
    yield from _still(stage)
    yield from _animation(stage)


def _scene(stage: Stage) -> None:
    scene, thing = bpy.context.scene, bpy.context.view_layer.objects.active
    scene.render.engine = "TEAMWORK_CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = SAMPLES, False  # not every distribution's Cycles can denoise
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.frame_start, scene.frame_end = 1, FRAMES
    thing.rotation_euler.z = 0.0
    thing.keyframe_insert("rotation_euler", frame=1)
    thing.rotation_euler.z = 0.6
    thing.keyframe_insert("rotation_euler", frame=FRAMES)
    scene.frame_set(1)
    layer = bpy.context.view_layer
    layer.teamwork.use_image = layer.teamwork.use_albedo = True


def _passes_panel(stage: Stage) -> Waits:
    properties = next(area for area in stage.window.screen.areas if area.type == "PROPERTIES")
    stage.check("the render engine can be chosen", bpy.context.scene.render.engine == "TEAMWORK_CYCLES")
    properties.spaces.active.context = "VIEW_LAYER"
    yield from stage.edit("IMAGE_EDITOR")
    yield from stage.shot("view_layer_passes")
    properties.spaces.active.context = "RENDER"


def _rendered(stage: Stage, keys: str, most: float) -> Waits:
    """Press the keys of a render and wait for its end; gives how often a timer fired meanwhile."""
    beats, done = [], []
    count = lambda: beats.append(1) or 0.1  # noqa: E731
    ended = lambda *_: done.append(1)  # noqa: E731
    for handlers in (bpy.app.handlers.render_complete, bpy.app.handlers.render_cancel):
        handlers.append(ended)
    bpy.app.timers.register(count)
    yield from stage.press(keys)
    yield from stage.until(lambda: done, most)
    yield from stage.until(lambda: not bpy.app.is_job_running("RENDER"), 20.0)
    bpy.app.timers.unregister(count)
    for handlers in (bpy.app.handlers.render_complete, bpy.app.handlers.render_cancel):
        handlers.remove(ended)
    return len(beats) if done else 0


def _still(stage: Stage) -> Waits:
    beats = yield from _rendered(stage, F12, 400.0)
    stage.check("F12 renders, and Blender goes on drawing meanwhile", beats > 5, f"{beats} beats of a timer")
    stage.area.spaces.active.image = bpy.data.images["Render Result"]
    yield from stage.redraw()
    yield from stage.shot("f12")
    place = yield from _pass_menu(stage)
    stage.check("the Image Editor has a menu of passes", place is not None)
    if place is None:
        return
    yield from stage.point(*place)
    xdotool("click", "1")
    yield from stage.shot("pass_menu")
    xdotool("key", "Escape")
    yield 0.3


def _pass_menu(stage: Stage) -> Waits:
    """Where the pass menu is: the place where the wheel with Ctrl changes the pass, as it does for any menu."""
    header, user = stage.region("HEADER"), stage.area.spaces.active.image_user
    for x in range(header.x + header.width - 30, header.x + header.width * 2 // 3, -24):
        before = user.multilayer_pass
        yield from stage.point(x, header.y + header.height / 2)
        yield 0.2
        xdotool("keydown", "ctrl", "click", "5", "keyup", "ctrl")
        yield 0.3
        if user.multilayer_pass != before:
            return x, header.y + header.height / 2
    return None


def _animation(stage: Stage) -> Waits:
    scene, folder = bpy.context.scene, Path(stage.job["frames"])
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format = "OPEN_EXR_MULTILAYER"
    scene.render.filepath = str(folder / "frame_")
    yield from _rendered(stage, f"ctrl+{F12}", 900.0)
    stage.frames = True
    written = sorted(path.name for path in folder.glob("*.exr"))
    stage.check("an animation writes its frames", len(written) == FRAMES, ", ".join(written))
    yield from stage.shot("animation")
