# SPDX-License-Identifier: GPL-3.0-or-later
"""F12 and an animation with the render engine "Teamwork (Cycles)", and its passes in the Image Editor."""

from __future__ import annotations

import time
from pathlib import Path

import bpy
import numpy as np

from .panels import start_engine
from .stage import Stage, Waits, xdotool

WIDTH, HEIGHT, SAMPLES = 192, 128, 8
ENDLESS = 100_000
F12 = "96"  # the key by its number: by its name, some versions of xdotool press Alt with it
FRAMES = 3
PASSES = ("image", "albedo")
PASS_MENU, FIRST_ENTRY = 86, 23
"""Pixels at 100 % interface scale: from the right end of the header to the middle of the menu of passes, and down to its
first entry."""
VISIBLE, SAME = 0.01, 0.001


def play(stage: Stage) -> Waits:
    """The passes are chosen, the picture is rendered, a pass is taken from the menu, three frames are written."""
    yield from start_engine(stage)
    moving_scene()
    yield from _passes_panel(stage)
    yield from _still(stage)
    yield from _stopped(stage)
    yield from _animation(stage)


def moving_scene() -> None:
    """The current scene, small and quick to render, its active object turning; two neural passes are chosen."""
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
    for name in PASSES:
        setattr(layer.teamwork, f"use_{name}", True)


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
    yield from _neural_pass(stage)


def _neural_pass(stage: Stage) -> Waits:
    """Take each of our passes from the menu: they are its last entries, and above the first comes the last again."""
    user = stage.area.spaces.active.image_user
    with bpy.context.temp_override(window=stage.window, area=stage.area, region=stage.region("WINDOW")):
        bpy.ops.image.view_zoom_ratio(ratio=3.0)
    combined = yield from _picture(stage)
    taken = []
    for up in range(1, len(PASSES) + 1):
        yield from _open_menu(stage)
        yield from stage.shot(f"pass_menu_{up}")
        xdotool("key", *["Up"] * up, "Return")
        yield 0.5
        yield from stage.shot(f"pass_{PASSES[-up]}")
        taken.append((user.multilayer_pass, (yield from _picture(stage))))
    numbers = [number for number, _ in taken]
    together = numbers[1] > 0 and numbers[0] == numbers[1] + 1
    stage.check("the menu of passes has ours at its end", together, str(numbers))
    changes = [float(np.abs(picture - combined).mean()) for _, picture in taken]
    changes.append(float(np.abs(taken[0][1] - taken[1][1]).mean()))
    seen = "the screen changed by " + ", ".join(f"{change:.3f}" for change in changes)
    alike = changes.pop(PASSES[::-1].index("image"))  # a good Neural Image looks like Combined, but it is not the same
    stage.check("a pass that is taken from it is what the editor shows", min(changes) > VISIBLE and alike > SAME, seen)


def _open_menu(stage: Stage) -> Waits:
    """Click on the menu of passes, the last before the channels at the header's right end, and go to its first entry."""
    header, scale = stage.region("HEADER"), bpy.context.preferences.system.ui_scale
    x, y = header.x + header.width - PASS_MENU * scale, header.y + header.height / 2
    yield from stage.point(x, y)
    yield 0.3
    xdotool("click", "1")
    yield 0.5
    yield from stage.point(x, y - FIRST_ENTRY * scale)
    yield 0.2


def _picture(stage: Stage) -> Waits:
    """What the screen shows of the picture, H x W x 4 from 0 to 1: the part of the editor that nothing lies over."""
    window = stage.region("WINDOW")
    pixels = yield from stage.screen()
    x, y = int(window.x + window.width / 2), int(window.y + window.height / 2)
    return pixels[y - HEIGHT : y + HEIGHT, x - WIDTH : x + WIDTH]


def _stopped(stage: Stage) -> Waits:
    """Esc ends a render that would take minutes."""
    scene, began = bpy.context.scene, time.monotonic()
    scene.cycles.samples, scene.cycles.use_adaptive_sampling = ENDLESS, False  # which would see that there is no noise left
    yield from stage.press(F12)
    yield from stage.until(lambda: bpy.app.is_job_running("RENDER"), 20.0)
    yield 3.0
    runs = bpy.app.is_job_running("RENDER")
    yield from stage.press("Escape")
    pressed = time.monotonic()
    yield from stage.until(lambda: not bpy.app.is_job_running("RENDER"), 60.0)
    ended = not bpy.app.is_job_running("RENDER")
    seconds = f"{pressed - began:.1f} s of rendering, {time.monotonic() - pressed:.1f} s to its end"
    stage.check("Esc ends a render", runs and ended, seconds)
    scene.cycles.samples, scene.cycles.use_adaptive_sampling = SAMPLES, True


def write_frames_to(folder: Path) -> None:
    """Have renders of animations leave all passes in files there."""
    render = bpy.context.scene.render
    if hasattr(render.image_settings, "media_type"):
        render.image_settings.media_type = "MULTI_LAYER_IMAGE"
    render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
    render.filepath = str(folder / "frame_")


def _animation(stage: Stage) -> Waits:
    folder = Path(stage.job["frames"])
    write_frames_to(folder)
    yield from _rendered(stage, f"ctrl+{F12}", 900.0)
    stage.frames = True
    written = sorted(path.name for path in folder.glob("*.exr"))
    stage.check("an animation writes its frames", len(written) == FRAMES, ", ".join(written))
    yield from stage.shot("animation")
