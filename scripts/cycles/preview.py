# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of a material: on a ball and on a tile behind it, on grey ground, under a panorama and a lamp."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine_server.colour import display_encode, finite

from . import objects
from .rendering import light_with_panorama, panoramas, render_passes, set_up
from .shaders import new_shader

PANORAMA = "studio.exr"
REPEAT = 1.3  # length of the material's UV range 0..1 on ball and tile; the ball's radius is 1
TILE = 2.6
CAMERA = (0.0, -7.2, 2.5)


def render_material_preview(material: Any, path: Path | str, size: int = 512, samples: int = 64) -> Path:
    """Render a material with Cycles to an 8-bit PNG for displays, size x size; gives the path.

    Everything that is built for it is removed again, so the file keeps its scenes as they are. Raises ValueError where
    the material has no nodes.
    """
    if material is None or getattr(material, "node_tree", None) is None:
        raise ValueError("The material has no nodes; switch 'Use Nodes' on before making a preview.")
    with _own_scene() as scene:
        _build(scene, material)
        set_up(scene, size, size, samples, threads=0)
        image = finite(render_passes(scene)["Combined"][..., :3])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(display_encode(image) * 255.0).astype(np.uint8)).save(path)
    return Path(path)


@contextmanager
def _own_scene() -> Iterator[Any]:
    """A scene that is current inside; afterwards it is removed with all that was made meanwhile.

    The window shows it meanwhile: rendering within `temp_override` crashes a Blender with Python 3.11 as soon as another thread of
    Python runs, such as the add-on's (see the notes).
    """
    import bpy

    kinds = ("objects", "meshes", "cameras", "lights", "materials", "worlds", "images", "scenes")
    before = {kind: {thing.name for thing in getattr(bpy.data, kind)} for kind in kinds}
    window, scene = bpy.context.window, bpy.data.scenes.new("Material preview")
    shown, window.scene = window.scene, scene
    try:
        yield scene
    finally:
        window.scene = shown
        for kind in kinds:
            data = getattr(bpy.data, kind)
            # the Render Result is Blender's own and stays
            for thing in [t for t in data if t.name not in before[kind] and getattr(t, "type", "") != "RENDER_RESULT"]:
                data.remove(thing)


def _build(scene: Any, material: Any) -> None:
    ball = objects.paint(objects.primitive("uv_sphere", segments=192, ring_count=96), material)
    objects.shade_smooth(ball)
    place = (-0.62, -0.3, 1.0)
    _wrap(ball, np.subtract(CAMERA, place))
    ball.location = place
    tile = objects.paint(objects.primitive("grid", x_subdivisions=160, y_subdivisions=160, size=TILE), material)
    _scale_uvs(tile, TILE / REPEAT)
    tile.location, tile.rotation_euler = (0.72, 0.95, TILE / 2 - 0.02), (np.radians(83.0), 0.0, np.radians(-14.0))
    _ground_and_light(scene)
    objects.camera(CAMERA, (0.05, 0.0, 1.08), 68.0)


def _ground_and_light(scene: Any) -> None:
    grey = new_shader("Ground")
    grey.principled.inputs["Base Color"].default_value = (0.12, 0.12, 0.125, 1.0)
    grey.principled.inputs["Roughness"].default_value = 0.6
    objects.paint(objects.sheet(60.0), grey.material)
    objects.paint(objects.sheet(60.0, (0.0, 7.0, 0.0), (np.pi / 2, 0.0, 0.0)), grey.material)
    light_with_panorama(scene, next(p for p in panoramas() if p.name == PANORAMA), 2.3, 0.45)
    objects.lamp("AREA", (-4.2, -2.0, 4.4), 380.0, 1.0, (1.0, 0.95, 0.88))


def _uvs(thing: Any) -> tuple[Any, np.ndarray]:
    """The mesh's UV layer and its values, corners x 2."""
    layer = thing.data.uv_layers.active.data
    values = np.empty(2 * len(layer), np.float32)
    layer.foreach_get("uv", values)
    return layer, values.reshape(-1, 2)


def _scale_uvs(thing: Any, factor: float) -> None:
    layer, values = _uvs(thing)
    layer.foreach_set("uv", np.ravel(values * np.float32(factor)))


def _wrap(ball: Any, towards: np.ndarray) -> None:
    """Azimuthal equidistant UVs about the direction to the camera: no seam and no pole in what it sees."""
    front = towards / np.linalg.norm(towards)
    right = np.cross((0.0, 0.0, 1.0), front)
    right /= np.linalg.norm(right)
    corners, vertices = np.empty(len(ball.data.loops), np.int32), np.empty(3 * len(ball.data.vertices), np.float32)
    ball.data.loops.foreach_get("vertex_index", corners)
    ball.data.vertices.foreach_get("co", vertices)
    away = vertices.reshape(-1, 3)[corners]
    x, y, z = (away @ axis for axis in (right, np.cross(front, right), front))
    angle = np.arccos(np.clip(z, -1.0, 1.0)) / np.maximum(np.hypot(x, y), 1e-6) / REPEAT
    layer, _ = _uvs(ball)
    layer.foreach_set("uv", np.ravel(np.stack([x * angle, y * angle], axis=-1)).astype(np.float32))
