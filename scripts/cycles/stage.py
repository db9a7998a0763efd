# SPDX-License-Identifier: GPL-3.0-or-later
"""An empty stage for Cycles: camera, world and lamps, shared by all scenes made here."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
from mathutils import Vector


def empty_scene(threads: int = 0) -> bpy.types.Scene:
    """Blender's empty file; Cycles on the CPU with so many threads (0: all)."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.view_settings.view_transform = "Standard"
    if threads:
        scene.render.threads_mode, scene.render.threads = "FIXED", threads
    return scene


def environments() -> list[Path]:
    """The panoramas that come with Blender (CC0), as studio lights."""
    return sorted(Path(bpy.utils.system_resource("DATAFILES"), "studiolights", "world").glob("*.exr"))


def light_by(scene: bpy.types.Scene, panorama: Path, strength: float = 1.0, turn: float = 0.0) -> None:
    """Light the scene by a panorama, turned by so many radians."""
    world = bpy.data.worlds.new(panorama.stem)
    scene.world = world
    if world.node_tree is None:
        world.use_nodes = True
    tree = world.node_tree
    background = next(node for node in tree.nodes if node.type == "BACKGROUND")
    image, mapping, where = (
        tree.nodes.new(f"ShaderNode{kind}") for kind in ("TexEnvironment", "Mapping", "TexCoord")
    )
    image.image = bpy.data.images.load(str(panorama), check_existing=True)
    mapping.inputs["Rotation"].default_value = (0.0, 0.0, turn)
    tree.links.new(where.outputs["Generated"], mapping.inputs["Vector"])
    tree.links.new(mapping.outputs["Vector"], image.inputs["Vector"])
    tree.links.new(image.outputs["Color"], background.inputs["Color"])
    background.inputs["Strength"].default_value = strength


def look(scene: bpy.types.Scene, at: tuple, place: tuple, lens: float = 50.0) -> bpy.types.Object:
    """Put the scene's camera at `place`, looking at `at`; `lens` in mm on a 36 mm sensor."""
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.data.lens = lens
    camera.location = place
    camera.rotation_euler = (Vector(at) - Vector(place)).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera


def lamp(scene: bpy.types.Scene, kind: str, place: tuple, energy: float, size: float = 1.0) -> bpy.types.Object:
    """A lamp (POINT, AREA, SUN) that shines on the origin; `energy` in watts (a sun's in W/m2)."""
    data = bpy.data.lights.new(kind.title(), kind)
    data.energy = energy
    if kind == "AREA":
        data.size = size
    elif kind == "POINT":
        data.shadow_soft_size = size
    thing = bpy.data.objects.new(kind.title(), data)
    thing.location = place
    thing.rotation_euler = (-Vector(place)).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(thing)
    return thing


def mesh(kind: str, **options) -> bpy.types.Object:
    """One of Blender's own meshes at the origin, shaded smooth where it is round."""
    getattr(bpy.ops.mesh, f"primitive_{kind}_add")(**options)
    thing = bpy.context.object
    if kind not in ("cube", "plane"):
        thing.data.polygons.foreach_set("use_smooth", [True] * len(thing.data.polygons))
    return thing


def rest_on_floor(thing: bpy.types.Object, x: float, y: float) -> None:
    """Move an object so that it stands on z = 0 at (x, y)."""
    bpy.context.view_layer.update()
    lowest = min((thing.matrix_world @ Vector(corner)).z for corner in thing.bound_box)
    thing.location = (x, y, thing.location.z - lowest)


def rounded(thing: bpy.types.Object, width: float = 0.06) -> None:
    """Bevel the edges, so that they catch light as real ones do."""
    bevel = thing.modifiers.new("Bevel", "BEVEL")
    bevel.width, bevel.segments = width, 3


def turn(degrees: float) -> float:
    """Degrees to radians."""
    return math.radians(degrees)
