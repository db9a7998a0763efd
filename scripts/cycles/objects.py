# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes, lamps and cameras put into the current scene. Metres, Z up, angles in radians."""

from __future__ import annotations

from typing import Any

import numpy as np

Random = np.random.Generator
Point = tuple[float, float, float]


def _active() -> Any:
    import bpy

    return bpy.context.view_layer.objects.active


def _modifier(thing: Any, kind: str, **settings: Any) -> None:
    made = thing.modifiers.new(kind.title(), kind)
    for name, value in settings.items():
        setattr(made, name, value)


def shade_smooth(thing: Any) -> None:
    """Interpolate the normals over the mesh's faces."""
    thing.data.polygons.foreach_set("use_smooth", [True] * len(thing.data.polygons))


def primitive(kind: str, **settings: Any) -> Any:
    """One of Blender's meshes ('cube', 'uv_sphere', 'monkey' ...) with its UVs, at the origin."""
    import bpy

    getattr(bpy.ops.mesh, f"primitive_{kind}_add")(**settings)
    return _active()


def box(width: float = 0.08) -> Any:
    """A cube of edge 2 with rounded edges."""
    thing = primitive("cube", size=2.0)
    _modifier(thing, "BEVEL", width=width, segments=3)
    shade_smooth(thing)
    _modifier(thing, "WEIGHTED_NORMAL")
    return thing


def monkey(levels: int = 1) -> Any:
    """Suzanne, smoothed."""
    thing = primitive("monkey", size=2.0)
    _modifier(thing, "SUBSURF", levels=levels, render_levels=levels)
    shade_smooth(thing)
    return thing


def sphere() -> Any:
    """A smooth sphere of radius 1."""
    thing = primitive("uv_sphere", segments=48, ring_count=24)
    shade_smooth(thing)
    return thing


def torus(thickness: float = 0.35) -> Any:
    """A ring of outer radius 1 + thickness."""
    thing = primitive("torus", minor_radius=thickness, major_segments=64, minor_segments=24)
    shade_smooth(thing)
    return thing


def _rounded(thing: Any) -> Any:
    _modifier(thing, "BEVEL", width=0.05, segments=3, limit_method="ANGLE")
    shade_smooth(thing)
    _modifier(thing, "WEIGHTED_NORMAL", keep_sharp=False)
    return thing


def cylinder() -> Any:
    """A cylinder of radius 1 and height 2 with rounded edges."""
    return _rounded(primitive("cylinder", vertices=64))


def cone(tip: float = 0.0) -> Any:
    """A cone of radius 1 and height 2; `tip` is its upper radius."""
    return _rounded(primitive("cone", vertices=64, radius2=tip))


def ico_sphere() -> Any:
    """A faceted ball of radius 1."""
    return primitive("ico_sphere", subdivisions=2, radius=1.0)


def lathe(profile: list[tuple[float, float]], steps: int = 64) -> Any:
    """A turned body: `profile` lists (radius, height) from the inside round to the outside; smooth, with UVs."""
    import bpy

    rings, angles = len(profile), np.linspace(0.0, 2.0 * np.pi, steps, endpoint=False)
    vertices = [(r * np.cos(a), r * np.sin(a), z) for r, z in profile for a in angles]
    faces = [
        (ring * steps + i, ring * steps + (i + 1) % steps, (ring + 1) * steps + (i + 1) % steps, (ring + 1) * steps + i)
        for ring in range(rings - 1)
        for i in range(steps)
    ]
    mesh = bpy.data.meshes.new("Turned")
    mesh.from_pydata(vertices, [], faces)
    corners = [((i + k) / steps, (ring + j) / (rings - 1)) for ring in range(rings - 1) for i in range(steps)
               for k, j in ((0, 0), (1, 0), (1, 1), (0, 1))]  # fmt: skip
    mesh.uv_layers.new(name="UVMap").data.foreach_set("uv", np.ravel(corners).astype(np.float32))
    thing = bpy.data.objects.new("Turned", mesh)
    bpy.context.scene.collection.objects.link(thing)
    _modifier(thing, "SUBSURF", levels=2, render_levels=2)
    shade_smooth(thing)
    return thing


def turned(random: Random) -> Any:
    """A vase, bottle or bowl of random form, hollow, about two units high or wide."""
    heights = np.linspace(-1.0, float(random.uniform(-0.2, 1.0)), int(random.integers(4, 8)))
    outer = np.clip(0.55 + np.cumsum(random.normal(0.0, 0.22, len(heights))), 0.2, 1.0)
    wall = list(zip(outer.tolist(), heights.tolist(), strict=True))
    inner = [(0.9 * radius, height) for radius, height in reversed(wall[1:])]
    floor = float(heights[0])
    return lathe([(0.01, floor), *wall, *inner, (0.01, floor + 0.1)])


def random_thing(random: Random) -> Any:
    """One of the meshes above, of size about 2 at the origin."""
    makers = (
        lambda: box(float(random.uniform(0.02, 0.3))),
        lambda: monkey(int(random.integers(0, 3))),
        lambda: torus(float(random.uniform(0.15, 0.5))),
        lambda: cone(float(random.choice([0.0, random.uniform(0.1, 0.8)]))),
        lambda: primitive("cube", size=2.0),
        lambda: turned(random),
        lambda: turned(random),
        sphere,
        cylinder,
        ico_sphere,
    )
    return makers[random.integers(len(makers))]()


def stand(thing: Any, x: float, y: float, turn: Point, scale: Point, ground: float = 0.0) -> None:
    """Turn and scale a thing, and set it down so that its lowest point touches the ground at (x, y)."""
    import bpy

    thing.rotation_euler, thing.scale = turn, scale
    thing.location = (x, y, 0.0)
    bpy.context.view_layer.update()
    thing.location = (x, y, ground - _lowest(thing))


def _lowest(thing: Any) -> float:
    """The height of a thing's lowest vertex, with its modifiers."""
    import bpy

    final = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    places = np.empty(3 * len(final.data.vertices), np.float32)
    final.data.vertices.foreach_get("co", places)
    world = np.array(final.matrix_world)
    return float((places.reshape(-1, 3) @ world[2, :3]).min() + world[2, 3])


def sheet(size: float, location: Point = (0.0, 0.0, 0.0), turn: Point = (0.0, 0.0, 0.0)) -> Any:
    """A square plane with its UVs, as ground or wall."""
    return primitive("plane", size=size, location=location, rotation=turn)


def lamp(kind: str, location: Point, power: float, size: float = 0.3, colour: Point = (1.0, 1.0, 1.0)) -> Any:
    """A lamp ('POINT', 'AREA' or 'SUN') that shines on the origin; power in watts, a sun's in watts per m2."""
    import bpy

    light = bpy.data.lights.new(kind, kind)
    light.energy, light.color = power, colour
    setattr(light, {"POINT": "shadow_soft_size", "AREA": "size", "SUN": "angle"}[kind], size)
    thing = bpy.data.objects.new(kind, light)
    bpy.context.scene.collection.objects.link(thing)
    thing.location = location
    look_at(thing, (0.0, 0.0, 0.0))
    return thing


def look_at(thing: Any, target: Point, roll: float = 0.0) -> None:
    """Point a camera or lamp, which look along their -Z, at a target."""
    from mathutils import Euler, Vector

    towards = (Vector(target) - Vector(thing.location)).to_track_quat("-Z", "Y")
    thing.rotation_euler = (towards @ Euler((0.0, 0.0, roll)).to_quaternion()).to_euler()


def camera(location: Point, target: Point, lens: float = 50.0, roll: float = 0.0) -> Any:
    """The scene's camera, 36 mm wide; `lens` in millimetres."""
    import bpy

    data = bpy.data.cameras.new("Camera")
    data.lens = lens
    thing = bpy.data.objects.new("Camera", data)
    scene = bpy.context.scene
    scene.collection.objects.link(thing)
    thing.location = location
    look_at(thing, target, roll)
    scene.camera = thing
    bpy.context.view_layer.update()  # so that its matrix_world holds
    return thing


def paint(thing: Any, material: Any) -> Any:
    """Give a thing its only material; gives the thing."""
    thing.data.materials.clear()
    thing.data.materials.append(material)
    return thing
