# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's still life: Suzanne in marble on books, a glazed vase, oranges in a brass bowl, an inlaid ball."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from engine_server.colour import finite

from . import demo_materials as materials
from . import objects
from .rendering import empty_scene, light_with_panorama, panoramas, render_passes, set_up

PANORAMA = "interior.exr"
VASE = [
    (0.0, 0.06), (0.2, 0.06), (0.34, 0.3), (0.42, 0.62), (0.36, 0.98), (0.17, 1.26), (0.14, 1.48), (0.2, 1.62),
    (0.23, 1.64), (0.22, 1.6), (0.18, 1.48), (0.21, 1.27), (0.41, 1.0), (0.47, 0.62), (0.39, 0.28), (0.27, 0.03),
    (0.24, 0.0), (0.0, 0.0),
]  # fmt: skip
BOWL = [
    (0.0, 0.1), (0.25, 0.11), (0.52, 0.27), (0.68, 0.5), (0.71, 0.52), (0.73, 0.5), (0.57, 0.23), (0.3, 0.05),
    (0.3, 0.0), (0.0, 0.0),
]  # fmt: skip


def build_demo_scene(size: int = 256) -> Any:
    """Replace what is in Blender by the still life; gives its scene, ready for a render of 4 samples, size x size.

    Every material is one Principled node with procedural textures; the light is one of Blender's bundled panoramas
    and a warm window. Needs no files but Blender's own.
    """
    scene = empty_scene()
    _set()
    _suzanne_on_books()
    _vase()
    _bowl_of_oranges()
    _small_things()
    _light(scene)
    objects.camera((0.25, -6.4, 2.35), (0.02, 0.0, 0.74), 62.0)
    set_up(scene, size, size, 4, threads=0, denoise=False)
    scene.cycles.use_light_tree = True
    return scene


def _set() -> None:
    """The table and the wall behind it."""
    table = objects.paint(objects.box(0.03), materials.wood())
    table.name, table.scale, table.location = "Table", (3.6, 1.9, 0.1), (0.0, 0.0, -0.1)
    wall = objects.sheet(16.0, (0.0, 2.6, 2.0), (np.pi / 2, 0.0, 0.0))
    objects.paint(wall, materials.plaster()).name = "Wall"


def _book(name: str, colour: materials.Colour, place: objects.Point, turn: float, half: objects.Point) -> None:
    cloth, paper = materials.painted(f"{name} cloth", colour, 0.75), materials.painted("Paper", (0.72, 0.66, 0.53), 0.9)
    block = (half[0] * 0.97, half[1] * 1.004, half[2] * 0.78)
    for part, material, scale in (("cover", cloth, half), ("pages", paper, block)):
        thing = objects.paint(objects.box(0.02), material)
        thing.name, thing.location, thing.scale, thing.rotation_euler = f"{name} {part}", place, scale, (0.0, 0.0, turn)


def _suzanne_on_books() -> None:
    _book("Red book", (0.33, 0.03, 0.025), (-0.75, 0.25, 0.1), 0.2, (0.72, 0.5, 0.1))
    _book("Green book", (0.035, 0.13, 0.075), (-0.72, 0.25, 0.27), -0.06, (0.64, 0.45, 0.07))
    suzanne = objects.paint(objects.monkey(2), materials.marble())
    suzanne.name = "Suzanne"
    objects.stand(suzanne, -0.74, 0.2, (-0.62, 0.0, 0.3), (0.7,) * 3, ground=0.34)


def _vase() -> None:
    vase = objects.paint(objects.lathe(VASE), materials.glaze())
    vase.name = "Vase"
    objects.stand(vase, 0.45, 0.75, (0.0, 0.0, 0.8), (1.0,) * 3)


def _orange(number: int, place: objects.Point) -> None:
    orange = objects.paint(objects.sphere(), materials.peel())
    orange.name, orange.location, orange.scale = f"Orange {number}", place, (0.27, 0.27, 0.255)
    orange.rotation_euler = (0.4 * number, 0.9 * number, 1.7 * number)


def _bowl_of_oranges() -> None:
    bowl = objects.paint(objects.lathe(BOWL), materials.brass())
    bowl.name = "Bowl"
    objects.stand(bowl, 1.2, -0.05, (0.0, 0.0, 0.0), (1.0,) * 3)
    heap = ((1.0, -0.18, 0.46), (1.42, -0.12, 0.47), (1.18, 0.2, 0.47), (1.2, -0.06, 0.86))
    for number, place in enumerate((*heap, (0.33, -0.62, 0.255))):
        _orange(number, place)


def _small_things() -> None:
    ball = objects.paint(objects.sphere(), materials.chequers())
    ball.name = "Inlaid ball"
    objects.stand(ball, -0.3, -0.72, (0.5, 0.35, 0.4), (0.24,) * 3)
    ring = objects.paint(objects.torus(0.22), materials.brass())
    ring.name = "Ring"
    objects.stand(ring, -1.62, -0.35, (0.0, 0.0, 0.0), (0.24,) * 3)


def _light(scene: Any) -> None:
    panorama = next(path for path in panoramas() if path.name == PANORAMA)
    light_with_panorama(scene, panorama, 2.2, 0.55)
    window = objects.lamp("AREA", (-3.6, -2.4, 3.6), 240.0, 0.9, (1.0, 0.84, 0.66))
    window.name = "Window"


@contextmanager
def _quality(scene: Any, **wanted: Any) -> Iterator[None]:
    """Cycles settings for one render."""
    kept = {name: getattr(scene.cycles, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(scene.cycles, name, value)
        yield
    finally:
        for name, value in kept.items():
            setattr(scene.cycles, name, value)


def render_reference(scene: Any, samples: int = 256, denoise: bool = True) -> np.ndarray:
    """The scene as it should look, H x W x 3 float32, scene-linear, rows top-down: many samples, denoised.

    The scene's settings are as before afterwards.
    """
    wanted = {"samples": samples, "use_denoising": denoise, "use_adaptive_sampling": False, "seed": 1}
    if denoise:
        wanted |= {"denoiser": "OPENIMAGEDENOISE"}
    with _quality(scene, **wanted):
        return finite(render_passes(scene)["Combined"][..., :3])


def save_scene(path: Path) -> None:
    """Keep what is in Blender as a .blend file."""
    import bpy

    bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=True)
