# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs of scanned materials on a flat plane, rendered with Cycles: validation for the material task.

The training photographs come from a renderer of flat planes that knows neither bounces nor Cycles' shader; these tell
whether a team also reads the real thing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engine_server import channels, colour

from . import objects, rendering, shaders
from .truth import exposure, to_bytes

Random = np.random.Generator
PLANE = 2.0  # its edge; the picture shows all of it


def plane_sample(folder: Path, flash: bool, size: int, samples: int, random: Random) -> dict[str, np.ndarray]:
    """`{file's stem: uint8}` of one scan: flash or env, albedo, normals (tangent), roughness, metalness.

    A flash is a small lamp beside the lens over a dim panorama; else a panorama alone lights the plane.
    """
    scene = rendering.empty_scene()
    crop, turn = float(random.uniform(0.5, 1.0)), float(random.integers(4)) * np.pi / 2
    material = shaders.scan(folder, crop, turn)
    objects.paint(objects.sheet(PLANE), shaders.write_passes(material))
    distance = _camera(random)
    _lights(scene, flash, distance, random)
    rendering.set_up(scene, size, size, samples)
    rendering.store_passes(scene)
    passes = rendering.render_passes(scene)
    image = colour.finite(passes["Combined"][..., :3])
    photograph = image * np.float32(exposure(image, random))
    return {"flash" if flash else "env": to_bytes(colour.display_encode(photograph))} | _truth(passes)


def _camera(random: Random) -> float:
    """A camera straight above that frames the plane; a third of the time without perspective. Gives its height."""
    lens = float(random.uniform(40.0, 100.0))
    # A hair inside the plane's edge, so that the filter never takes in what is beyond.
    distance = 0.99 * PLANE * lens / 36.0
    camera = objects.camera((0.0, 0.0, distance), (0.0, 0.0, 0.0), lens)
    camera.rotation_euler = (0.0, 0.0, 0.0)
    if random.random() < 0.33:
        camera.data.type, camera.data.ortho_scale = "ORTHO", 0.99 * PLANE
    return distance


def _lights(scene: Any, flash: bool, distance: float, random: Random) -> None:
    found = rendering.panoramas()
    chosen, turn = found[random.integers(len(found))], float(random.uniform(0.0, 2.0 * np.pi))
    rendering.light_with_panorama(scene, chosen, turn, float(10.0 ** random.uniform(-2.0, -1.0)) if flash else 1.0)
    if flash:
        beside = random.normal(0.0, 0.03, 2) * distance
        objects.lamp("POINT", (*map(float, beside), distance), 40.0 * distance**2, 0.02 * distance)


def _truth(passes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    # Seen from straight above, the plane's tangents are the world's axes: X right, Y up, Z to the viewer.
    normals = channels.normalise(colour.finite(passes["Normal"][..., :3]))
    return {
        "albedo": to_bytes(colour.display_encode(colour.finite(passes["albedo"][..., :3]))),
        "normals": to_bytes(channels.normals_encode(normals)),
        "roughness": to_bytes(passes["roughness"]),
        "metalness": to_bytes(passes["metalness"]),
    }
