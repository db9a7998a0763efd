# SPDX-License-Identifier: GPL-3.0-or-later
"""A neural render of the current view shows what the viewport shows: coloured balls lie at the same places in both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np
from bpy_extras.view3d_utils import location_3d_to_region_2d
from mathutils import Euler, Vector

from .panels import start_engine
from .stage import Stage, Waits

BALLS = {
    "red": ((1.0, 0.0, 0.0, 1.0), (-1.3, -0.2, 0.3)),
    "green": ((0.0, 1.0, 0.0, 1.0), (1.2, -0.6, 0.7)),
    "blue": ((0.0, 0.0, 1.0, 1.0), (0.3, 1.3, -0.4)),
}
"""Each ball's colour and place: at several distances, and nothing about them is symmetric."""
TURN, DISTANCE = Euler((0.9, 0.1, 0.5)), 5.0
VIEWS = (("PERSP", 50.0), ("PERSP", 24.0), ("ORTHO", 50.0))
SHAPES = ((1.0, 1.0), (1.7, 1.0), (1.0, 1.7))
"""Width and height of the picture, beside the viewport's own proportions."""
PIXELS = 240
NEAR = 0.01
"""How far places may lie apart, in halves of the larger side: little more than one of the picture's pixels."""
PORTRAIT = 0.28
VISIBLE = 0.03


def play(stage: Stage) -> Waits:
    """In perspective and not, with other lenses, proportions, locked to an object, split in four, in a tall region, and through
    a camera."""
    yield from stage.edit("VIEW_3D")
    yield from stage.away()
    with _scene(stage):
        for name, lens in VIEWS:
            yield from _compared(stage, stage.area, f"{name.lower()}, {lens:.0f} mm", name, lens)
        yield from _locked(stage)
        yield from _in_four(stage)
        yield from _through_the_camera(stage)
        yield from _tall(stage)
        yield from _by_the_operator(stage)
    yield from stage.redraw()


@contextmanager
def _scene(stage: Stage) -> Iterator[None]:
    """A scene of its own with the balls; the viewport shows nothing but them."""
    before, space = stage.window.scene, stage.area.spaces.active
    kept = [{name: _value(owner, name) for name in names} for owner, names in _changed(space)]
    scene = stage.window.scene = bpy.data.scenes.new("View")
    for name, (colour, place) in BALLS.items():
        _ball(scene, name, colour, place)
    scene.world = bpy.data.worlds.new("View")  # grey, from all sides: no shadow hides a part of a ball
    scene.world.color = (0.8, 0.8, 0.8)
    _plain(space)
    try:
        yield
    finally:
        stage.window.scene = before
        bpy.data.scenes.remove(scene)
        # asked for anew: a view that was split in four has another region_3d since, and the one from before is freed memory
        for (owner, _), values in zip(_changed(space), kept, strict=True):
            for name, value in values.items():
                setattr(owner, name, value)


def _changed(space: bpy.types.SpaceView3D) -> tuple:
    """What is changed of the viewport, and put back."""
    return (
        (space, ("show_region_ui", "show_region_toolbar", "show_gizmo", "lens")),
        (space.shading, ("type", "light", "color_type")),
        (space.overlay, ("show_overlays",)),
        (space.region_3d, ("view_perspective", "view_location", "view_rotation", "view_distance")),
    )


def _value(owner: bpy.types.bpy_struct, name: str):
    value = getattr(owner, name)
    return value.copy() if hasattr(value, "copy") else value


def _ball(scene: bpy.types.Scene, name: str, colour: tuple, place: tuple) -> None:
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=3, radius=0.35, location=place)
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = material.diffuse_color = colour
    bpy.context.object.data.materials.append(material)
    if bpy.context.object.name not in scene.collection.objects:
        scene.collection.objects.link(bpy.context.object)


def _plain(space: bpy.types.SpaceView3D) -> None:
    """Flat colours, and nothing that lies over them."""
    space.shading.type, space.shading.light, space.shading.color_type = "SOLID", "FLAT", "MATERIAL"
    space.overlay.show_overlays = space.show_gizmo = space.show_region_ui = space.show_region_toolbar = False


def _look(space: bpy.types.SpaceView3D, perspective: str, lens: float, *, back: float = 1.0) -> None:
    seen = space.region_3d
    space.lens, seen.view_perspective = lens, perspective
    seen.view_location, seen.view_rotation = (0.1, 0.2, 0.1), TURN.to_quaternion()
    seen.view_distance = back * DISTANCE * (lens / 50.0 if perspective == "PERSP" else 0.5)


def _compared(
    stage: Stage, area: bpy.types.Area, title: str, perspective: str, lens: float, back: float = 1.0, region: bpy.types.Region | None = None
) -> Waits:
    """One view in pictures of several proportions: the balls are where the viewport has them, the picture's middle in its
    middle, and all of the viewport in the picture. From further `back` all balls are wholly seen in a narrow region."""
    _look(area.spaces.active, perspective, lens, back=back)
    region = region or stage.region("WINDOW", area)
    there = yield from _on_screen(stage, region)
    worst = 0.0
    for wide, high in SHAPES:
        here = _rendered(stage, area, region.width * wide, region.height * high)
        worst = max(worst, _apart(there, here, region.width / region.height, (wide, high)))
    seen = f"{worst:.4f} of half a side apart" if worst < NEAR else f"{worst:.4f}; there {there}, here {here}"
    stage.check(f"a neural render frames what the viewport shows ({title})", worst < NEAR, seen)


def _apart(there: dict, here: dict, aspect: float, shape: tuple[float, float]) -> float:
    """The largest distance between a ball on the screen and in the picture, in halves of its larger side; infinite if one is
    missing. The picture shows the whole viewport, and more of one side if its proportions are others."""
    if set(there) != set(BALLS) or set(here) != set(BALLS):
        return float("inf")
    wide, high = shape
    grown = (max(1.0, wide / high), max(1.0, high / wide))
    longer = max(aspect, 1.0)
    sides = (aspect / longer, 1.0 / longer)
    return max(abs(here[ball][axis] * grown[axis] - there[ball][axis]) * sides[axis] for ball in BALLS for axis in (0, 1))


def _on_screen(stage: Stage, region: bpy.types.Region) -> Waits:
    """Where the screen has the balls."""
    pixels = yield from stage.screen()
    return places(pixels[region.y : region.y + region.height, region.x : region.x + region.width])


def _rendered(stage: Stage, area: bpy.types.Area, width: float, height: float) -> dict:
    """Where the channels of a neural render have them."""
    scale, scene = PIXELS / max(width, height), stage.window.scene
    size = round(width * scale), round(height * scale)
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = *size, 100
    seen = stage.part("viewpoint").shown(area)
    made = stage.part("passes").render_channels(scene, samples=1, view=seen)
    return places(made["albedo"].data[::-1])


def places(pixels: np.ndarray) -> dict[str, tuple[float, float]]:
    """The middles of what is red, green and blue in a picture, rows from the bottom, from -1 to 1 between its borders."""
    found = {}
    for index, name in enumerate(BALLS):
        others = np.delete(pixels[..., :3], index, axis=-1).max(-1)
        rows, columns = np.nonzero(pixels[..., index] > 2.0 * others + VISIBLE)
        if len(rows):
            middle = (columns.mean() + 0.5) / pixels.shape[1], (rows.mean() + 0.5) / pixels.shape[0]
            found[name] = tuple(2.0 * each - 1.0 for each in middle)
    return found


def _locked(stage: Stage) -> Waits:
    """A viewport that is locked to an object, or to the cursor, turns around that instead of its own middle."""
    space, cursor = stage.area.spaces.active, stage.window.scene.cursor
    locked = bpy.data.objects.new("Middle of the view", None)
    locked.location = (0.4, -0.3, 0.2)
    stage.window.scene.collection.objects.link(locked)
    space.lock_object = locked
    yield from _compared(stage, stage.area, "locked to an object", "PERSP", 35.0, 1.3)
    space.lock_object = None
    bpy.data.objects.remove(locked)
    space.lock_cursor, cursor.location = True, (-0.3, 0.4, 0.1)
    yield from _compared(stage, stage.area, "locked to the cursor", "ORTHO", 50.0, 2.0)
    yield from stage.shot("locked_to_the_cursor")
    space.lock_cursor = False


def _in_four(stage: Stage) -> Waits:
    """Of a viewport that is split in four, the part in perspective."""
    with bpy.context.temp_override(window=stage.window, area=stage.area, region=stage.region("WINDOW")):
        bpy.ops.screen.region_quadview()
    yield from stage.redraw()
    _plain(stage.area.spaces.active)
    parts = [each for each in stage.area.regions if each.type == "WINDOW"]
    seen = stage.area.spaces.active.region_3d
    part = next((each for each in parts if each.data == seen), None)
    stage.check("a viewport that is split in four has a part that counts", len(parts) == 4 and part is not None, f"{len(parts)} parts")
    if part is not None:
        yield from _compared(stage, stage.area, "split in four", "PERSP", 50.0, 1.3, part)
        yield from stage.shot("view_in_four")
    with bpy.context.temp_override(window=stage.window, area=stage.area, region=part or parts[0]):
        bpy.ops.screen.region_quadview()
    yield from stage.redraw()


def _through_the_camera(stage: Stage) -> Waits:
    """A shifted camera in a picture of other proportions than the viewport's: its frame there is the picture."""
    scene, space = stage.window.scene, stage.area.spaces.active
    camera = bpy.data.objects.new("View camera", bpy.data.cameras.new("View camera"))
    camera.data.shift_x, camera.data.shift_y, camera.data.passepartout_alpha = 0.08, -0.05, 0.5
    camera.location, camera.rotation_euler = Vector((0.1, 0.2, 0.1)) + TURN.to_matrix() @ Vector((0, 0, 7)), TURN
    scene.collection.objects.link(camera)
    scene.camera = camera
    space.region_3d.view_perspective = "CAMERA"
    scene.render.resolution_x, scene.render.resolution_y = 240, 180
    region = stage.region("WINDOW")
    there = yield from _on_screen(stage, region)
    yield from stage.shot("through_the_camera")
    here = _rendered(stage, stage.area, 240, 180)
    frame = _frame(stage, camera, region)
    inside = {ball: tuple((there[ball][axis] - frame[0][axis]) / frame[1][axis] for axis in (0, 1)) for ball in there}
    worst = _apart(inside, here, 4 / 3, (1.0, 1.0))
    stage.check("and what a shifted camera's frame shows", worst < NEAR, f"{worst:.4f} of half a side apart")


def _frame(stage: Stage, camera: bpy.types.Object, region: bpy.types.Region) -> tuple[tuple, tuple]:
    """The middle and the half size of the camera's frame in the region, both from -1 to 1: as Blender projects them."""
    corners = [camera.matrix_world @ corner for corner in camera.data.view_frame(scene=stage.window.scene)]
    flat = [location_3d_to_region_2d(region, stage.area.spaces.active.region_3d, corner) for corner in corners]
    spans = [(min(p[axis] for p in flat), max(p[axis] for p in flat)) for axis in (0, 1)]
    sizes = (region.width, region.height)
    middle = tuple((low + high) / size - 1.0 for (low, high), size in zip(spans, sizes, strict=True))
    return middle, tuple((high - low) / size for (low, high), size in zip(spans, sizes, strict=True))


def _tall(stage: Stage) -> Waits:
    """In a region that is higher than wide."""
    known = set(stage.window.screen.areas)
    with bpy.context.temp_override(window=stage.window, area=stage.area, region=stage.region("WINDOW")):
        bpy.ops.screen.area_split(direction="VERTICAL", factor=PORTRAIT)
    [made] = set(stage.window.screen.areas) - known
    area = min((made, stage.area), key=lambda each: each.width)
    yield from stage.redraw()
    _plain(area.spaces.active)
    yield from _compared(stage, area, f"a region of {area.width} x {area.height}", "PERSP", 50.0, 1.6)
    yield from stage.shot("tall_view")
    with bpy.context.temp_override(window=stage.window, area=made):
        bpy.ops.screen.area_close()
    yield from stage.redraw()


def _by_the_operator(stage: Stage) -> Waits:
    """The whole way, through the engine: the picture that lands has the balls at the same places."""
    yield from start_engine(stage)
    _plain(stage.area.spaces.active)
    _look(stage.area.spaces.active, "PERSP", 35.0)
    region, scene, jobs = stage.region("WINDOW"), stage.window.scene, stage.part("jobs")
    there = yield from _on_screen(stage, region)
    yield from stage.shot("current_view")
    scene.render.resolution_x, scene.render.resolution_y = PIXELS, round(PIXELS * region.height / region.width)
    with bpy.context.temp_override(window=stage.window, area=stage.area, region=region):
        bpy.ops.teamwork.neural_render(view="VIEW", image_name="View")
    job = jobs.JOBS[-1]
    yield from stage.until(lambda: job.state != jobs.RUNNING, 120.0)
    image = bpy.data.images.get("View")
    if image is None:
        stage.check("the neural render of the current view lands", False, job.line)
        return
    pixels = np.array(image.pixels, np.float32).reshape(image.size[1], image.size[0], -1)
    worst = _apart(there, places(pixels / max(float(pixels[..., :3].max()), 1e-6)), region.width / region.height, (1.0, 1.0))
    stage.check("the neural render of the current view has it where the viewport has", worst < 2 * NEAR, f"{worst:.4f} apart")
    stage.area.ui_type = "IMAGE_EDITOR"
    stage.area.spaces.active.image = image
    yield from stage.shot("neural_render_of_the_view")
    stage.area.ui_type = "VIEW_3D"
