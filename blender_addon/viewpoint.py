# SPDX-License-Identifier: GPL-3.0-or-later
"""What a 3D viewport shows, as a camera that is there for one render."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import bpy
from mathutils import Matrix

HALF_SENSOR = 36.0
"""Millimetres: half of the sensor that Blender's viewports have along their longer side."""


@dataclass(frozen=True)
class View:
    """Where a viewport looks from, and how far it sees from its middle to its sides: the half width and height of what it
    shows at the distance 1 or, `orthographic`, in metres."""

    matrix: Matrix
    half: tuple[float, float]
    orthographic: bool
    clip: tuple[float, float]


def on_screen(context: bpy.types.Context) -> bool:
    """Are there viewports that somebody sees? In background mode their sizes are unknown."""
    return context.window is not None and not bpy.app.background


def shown(area: bpy.types.Area | None) -> View | bpy.types.Object | None:
    """What a viewport shows; the object that it looks through, if it looks through one; None if the area is no viewport."""
    space = area.spaces.active if area is not None and area.type == "VIEW_3D" else None
    seen = space.region_3d if space is not None else None
    if seen is None:
        return None
    if seen.view_perspective == "CAMERA":
        return space.camera if space.use_local_camera else bpy.context.scene.camera
    regions = [each for each in area.regions if each.type == "WINDOW"]
    region = next((each for each in regions if each.data == seen), regions[0])  # four of them, if the view is split so
    orthographic = seen.view_perspective == "ORTHO"
    longer = HALF_SENSOR / space.lens * (seen.view_distance if orthographic else 1.0)
    sides = max(region.width, region.height, 1)
    half = longer * region.width / sides, longer * region.height / sides
    return View(_matrix(space), half, orthographic, (space.clip_start, space.clip_end))


def _matrix(space: bpy.types.SpaceView3D) -> Matrix:
    """Where a viewport looks from. One that is locked to an object or the cursor turns around that, as it was last drawn."""
    seen = space.region_3d
    if space.lock_object is not None or space.lock_cursor:
        return seen.view_matrix.inverted()
    turned = Matrix.Translation(seen.view_location) @ seen.view_rotation.to_matrix().to_4x4()
    return turned @ Matrix.Translation((0.0, 0.0, seen.view_distance))


@contextmanager
def camera_of(view: View, aspect: float) -> Iterator[bpy.types.Object]:
    """A camera that sees all that the viewport shows in a picture whose width is `aspect` times its height.

    Nobody else sees it: it is in no collection.
    """
    data = bpy.data.cameras.new("Teamwork View")
    camera = bpy.data.objects.new("Teamwork View", data)
    try:
        camera.matrix_world = view.matrix
        data.sensor_fit = "HORIZONTAL"
        data.clip_start, data.clip_end = view.clip
        half = max(view.half[0], view.half[1] * aspect)
        if view.orthographic:
            data.type, data.ortho_scale = "ORTHO", 2.0 * half
            _step_back(camera, data, view.clip[1])
        else:
            data.angle = 2.0 * math.atan(half)
        yield camera
    finally:
        bpy.data.objects.remove(camera)
        bpy.data.cameras.remove(data)


def _step_back(camera: bpy.types.Object, data: bpy.types.Camera, distance: float) -> None:
    """A viewport without perspective shows what is behind it, too. A camera's clipping begins before it at the earliest, so the
    camera stands behind all that."""
    camera.matrix_world = camera.matrix_world @ Matrix.Translation((0.0, 0.0, distance))
    data.clip_start, data.clip_end = 0.0, 2.0 * distance
