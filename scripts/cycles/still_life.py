# SPDX-License-Identifier: GPL-3.0-or-later
"""Random still lifes and rooms, for training and validation."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np

from . import stage
from .shading import random_material

Random = np.random.Generator
SHAPES = {
    "cube": {"size": 1.6},
    "uv_sphere": {"radius": 0.9, "segments": 48, "ring_count": 24},
    "cone": {"radius1": 0.9, "depth": 1.8, "vertices": 48},
    "cylinder": {"radius": 0.7, "depth": 1.7, "vertices": 48},
    "torus": {"major_radius": 0.8, "minor_radius": 0.32},
    "monkey": {"size": 1.8},
    "ico_sphere": {"radius": 0.9, "subdivisions": 2},
}


def build(random: Random, folders: list[Path], threads: int = 1) -> bpy.types.Scene:
    """A scene with its camera, drawn from `random`; `folders` are scanned materials to use."""
    scene = stage.empty_scene(threads)
    _surroundings(random, folders)
    for _ in range(random.integers(3, 9)):
        _thing(random, folders)
    _light(scene, random)
    _camera(scene, random)
    return scene


def _surroundings(random: Random, folders: list[Path]) -> None:
    """A floor, mostly; two walls in a third of the scenes."""
    if random.random() < 0.9:
        _wall((0, 0, 0), (0, 0, 0), random_material(random, folders))
    if random.random() < 0.35:
        material = random_material(random, folders)
        _wall((0, 4.5, 0), (math.pi / 2, 0, 0), material)
        _wall((-4.5, 0, 0), (math.pi / 2, 0, math.pi / 2), material)


def _wall(place: tuple, rotation: tuple, material: bpy.types.Material) -> None:
    wall = stage.mesh("plane", size=24)
    wall.location, wall.rotation_euler = place, rotation
    for loop in wall.data.uv_layers.active.data:
        loop.uv *= 6.0  # the same size of pattern as on the objects
    wall.data.materials.append(material)


def _thing(random: Random, folders: list[Path]) -> None:
    kind = list(SHAPES)[random.integers(len(SHAPES))]
    thing = stage.mesh(kind, **SHAPES[kind])
    thing.scale = [float(random.uniform(0.5, 1.3))] * 3
    tilt = random.uniform(-math.pi, math.pi, 2) if random.random() < 0.3 else (0.0, 0.0)
    thing.rotation_euler = (*map(float, tilt), float(random.uniform(-math.pi, math.pi)))
    if kind == "cube":
        stage.rounded(thing)
    radius, angle = 2.6 * math.sqrt(random.random()), random.uniform(-math.pi, math.pi)
    stage.rest_on_floor(thing, radius * math.cos(angle), radius * math.sin(angle))
    thing.data.materials.append(random_material(random, folders))


def _light(scene: bpy.types.Scene, random: Random) -> None:
    panoramas = stage.environments()
    strength = float(2.0 ** random.uniform(-1.5, 0.7))
    stage.light_by(scene, panoramas[random.integers(len(panoramas))], strength, float(random.uniform(0, 2 * math.pi)))
    if random.random() < 0.4:
        angle = random.uniform(-math.pi, math.pi)
        place = (4 * math.cos(angle), 4 * math.sin(angle), float(random.uniform(3, 6)))
        stage.lamp(scene, "AREA", place, float(random.uniform(100, 700)), float(random.uniform(0.3, 2.0)))


def _camera(scene: bpy.types.Scene, random: Random) -> None:
    angle, height = random.uniform(-2.6, -0.3), random.uniform(0.12, 0.9)  # in front of the walls
    distance = random.uniform(5.0, 9.0)
    place = distance * np.array([math.cos(angle) * math.cos(height), math.sin(angle) * math.cos(height), math.sin(height)])
    at = (*map(float, random.uniform(-0.5, 0.5, 2)), float(random.uniform(0.2, 0.9)))
    stage.look(scene, at, tuple(map(float, place)), float(random.uniform(40, 85)))
