# SPDX-License-Identifier: GPL-3.0-or-later
"""Random scenes: things on a ground under a panorama, before a wall, in rooms with lamps, and before nothing, as in a new file.

Things are about one unit large.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import gobos, objects
from .rendering import empty_scene, light_with_colour, light_with_panorama, panoramas
from .shaders import mottled, random_material

Random = np.random.Generator
SHARES = {"room": 0.3, "wall": 0.25, "ground": 0.25, "nothing": 0.2}
WINDOW_SHARE = 0.35  # of rooms and walls: the sun through a window, a blind or leaves
NEW_FILE = 0.05  # the grey of the world in a new file of Blender


def random_scene(scans: tuple[Path, ...], random: Random, kinds: Sequence[str] = tuple(SHARES)) -> Any:
    """Replace what is in Blender by a random scene of one of these kinds (see `SHARES`), with camera and lights; gives the scene.

    `scans` are folders of materials; the materials are as in `shaders.random_material`, with their passes.
    """
    scene = empty_scene()
    shares = np.array([SHARES[kind] for kind in kinds])
    kind = str(random.choice(kinds, p=shares / shares.sum()))
    spread = float(random.uniform(1.2, 2.6))
    _things(scans, random, spread)
    {"room": _room, "wall": _wall, "ground": _ground, "nothing": _nothing}[kind](scans, random, spread)
    _camera(random, spread, kind in ("room", "wall"))
    return scene


def _turn(random: Random) -> tuple[float, float, float]:
    """Upright and turned, or, one time in four, tumbled."""
    angles = random.uniform(-np.pi, np.pi, 3)
    return tuple(float(a) for a in (angles if random.random() < 0.25 else angles * (0, 0, 1)))


def _things(scans: tuple[Path, ...], random: Random, spread: float) -> None:
    """Two to seven things that stand apart from each other as far as there is room."""
    taken: list[tuple[np.ndarray, float]] = []
    for _ in range(int(random.integers(2, 8))):
        size = float(random.uniform(0.3, 0.9))
        spot = _free_spot(taken, size, random, spread)
        if spot is None:
            continue
        taken.append((spot, size))
        thing = objects.paint(objects.random_thing(random), random_material(scans, random))
        scale = size * random.uniform(0.75, 1.25, 3) if random.random() < 0.4 else np.full(3, size)
        objects.stand(thing, *map(float, spot), _turn(random), tuple(map(float, scale)))


def _free_spot(taken: list[tuple[np.ndarray, float]], size: float, random: Random, spread: float) -> np.ndarray | None:
    for _ in range(12):
        spot = random.uniform(-spread, spread, 2)
        if all(np.linalg.norm(spot - other) > 1.15 * (size + radius) for other, radius in taken):
            return spot
    return None


def _panorama(random: Random, strength: float) -> None:
    import bpy

    found = panoramas()
    chosen = found[random.integers(len(found))]
    light_with_panorama(bpy.context.scene, chosen, float(random.uniform(0, 2 * np.pi)), strength)


def _lamp(random: Random, reach: float, height: tuple[float, float]) -> None:
    """A lamp of a slight tint somewhere above."""
    angle, power = random.uniform(0, 2 * np.pi), 10.0 ** random.uniform(2.2, 3.2)
    place = (reach * np.cos(angle), reach * np.sin(angle), random.uniform(*height))
    colour = np.exp(random.normal(0.0, 0.25) * np.array([1.0, 0.0, -1.0]))
    kind = str(random.choice(["POINT", "AREA"]))
    size = float(random.uniform(0.05, 0.4) if kind == "POINT" else random.uniform(0.4, 2.0))
    objects.lamp(kind, tuple(map(float, place)), float(power), size, tuple(map(float, colour / colour.max())))


def _sun(random: Random, place: np.ndarray, broken: float) -> None:
    """The sun from over a point 4 above the ground; its light is `broken` by a window, a blind or leaves in that share of scenes."""
    strength, angle = float(random.uniform(1.0, 6.0)), float(random.uniform(0.0, 0.1))
    sun = objects.lamp("SUN", (*map(float, place), 4.0), strength, angle)
    if random.random() < broken:
        gobos.put_before(sun, random)


def _window_light(random: Random, half: float) -> None:
    """Weak light from all around, and the sun from behind the camera, mostly through a window."""
    _panorama(random, float(random.uniform(0.1, 0.6)))
    _sun(random, np.array([random.choice([-1.0, 1.0]) * random.uniform(1.0, 3.0), -half]), 0.8)


def _ground(scans: tuple[Path, ...], random: Random, spread: float) -> None:
    """A table or an endless floor, under a panorama and sometimes a lamp or the sun."""
    size = float(random.choice([2.2 * spread + 1.0, 12.0, 40.0]))
    objects.paint(objects.sheet(size), random_material(scans, random, large=size > 8.0))
    _panorama(random, float(random.uniform(0.6, 1.6)))
    kind = random.random()
    if kind < 0.25:
        _lamp(random, 2.0 * spread, (2.0, 5.0))
    elif kind < 0.5:
        _sun(random, random.normal(size=2) * 3.0, 0.3)


def _room(scans: tuple[Path, ...], random: Random, spread: float) -> None:
    """Floor and walls, open behind the camera so that the panorama's light falls in; half the time with lamps."""
    half, height = spread + float(random.uniform(0.8, 1.6)), float(random.uniform(2.5, 4.0))
    wall = random_material(scans, random, large=True)
    objects.paint(objects.sheet(4 * half), random_material(scans, random, large=True))
    objects.paint(objects.sheet(4 * half, (0.0, half, 0.0), (np.pi / 2, 0.0, 0.0)), wall)
    for side in (-1.0, 1.0):
        if random.random() < 0.7:
            other = wall if random.random() < 0.6 else random_material(scans, random, large=True)
            objects.paint(objects.sheet(4 * half, (side * half, 0.0, 0.0), (np.pi / 2, 0.0, side * np.pi / 2)), other)
    if random.random() < WINDOW_SHARE:
        return _window_light(random, half)
    lit = random.random() < 0.6
    _panorama(random, float(random.uniform(0.1, 0.6) if lit else random.uniform(0.8, 1.6)))
    for _ in range(int(random.integers(1, 3)) if lit else 0):
        _lamp(random, 0.7 * half, (0.6 * height, height))


def _wall(scans: tuple[Path, ...], random: Random, spread: float) -> None:
    """A table or a floor before one wall, most often of a single tone: where a still life is set up, or a product is shown."""
    half = spread + float(random.uniform(0.4, 2.0))
    deep = float(random.choice([2.0 * half, 12.0]))  # a table that ends at the wall, or a floor that goes on towards the camera
    objects.paint(objects.sheet(deep, (0.0, half - 0.5 * deep, 0.0)), random_material(scans, random, large=deep > 8.0))
    material = mottled(random) if random.random() < 0.7 else random_material(scans, random, large=True)
    objects.paint(objects.sheet(16.0, (0.0, half, 0.0), (np.pi / 2, 0.0, 0.0)), material)
    if random.random() < WINDOW_SHARE:
        return _window_light(random, half)
    lit = random.random() < 0.6
    _panorama(random, float(random.uniform(0.2, 0.8) if lit else random.uniform(0.8, 1.6)))
    if lit:
        side = float(random.choice([-1.0, 1.0]) * random.uniform(1.0, 2.5))
        colour = (1.0, *map(float, sorted(random.uniform(0.6, 1.0, 2), reverse=True)))
        objects.lamp("AREA", (side * half, -half, 3.5), float(10.0 ** random.uniform(2.0, 2.9)), float(random.uniform(0.5, 2.0)), colour)


def _nothing(scans: tuple[Path, ...], random: Random, spread: float) -> None:
    """A world of one colour, lamps, and now and then a plate to stand on."""
    import bpy

    if random.random() < 0.4:
        objects.paint(objects.sheet(2.2 * spread + 1.0), random_material(scans, random))
    grey = NEW_FILE if random.random() < 0.5 else float(random.uniform(0.0, 1.0)) ** 2
    tint = np.exp(random.normal(0.0, 0.25, 3)) if random.random() < 0.3 else np.ones(3)
    light_with_colour(bpy.context.scene, tuple(map(float, np.clip(grey * tint, 0.0, 1.0))))
    for _ in range(int(random.integers(1, 3))):
        _lamp(random, 2.0 * spread, (1.0, 5.0))


def _camera(random: Random, spread: float, room: bool) -> None:
    """A camera that sees most of the things; in a room it looks from the open side."""
    lens, height = float(random.uniform(30.0, 80.0)), float(random.uniform(0.15, 0.9))
    angle = -np.pi / 2 + (random.uniform(-0.5, 0.5) if room else random.uniform(-np.pi, np.pi))
    away = (spread + 0.4) * lens / 36.0 * 2.0 * float(random.uniform(0.8, 1.25))
    flat = away * np.cos(height)
    target = tuple(map(float, (*random.uniform(-0.3, 0.3, 2) * spread, random.uniform(0.2, 0.7))))
    location = (target[0] + flat * np.cos(angle), target[1] + flat * np.sin(angle), target[2] + away * np.sin(height))
    objects.camera(tuple(map(float, location)), target, lens, float(random.normal(0.0, 0.05)))
