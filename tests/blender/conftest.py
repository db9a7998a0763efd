# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender for the tests: an empty file, one thread, small renders."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from .installed import EXTENSION, use_extension

if EXTENSION:
    use_extension(EXTENSION)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Keep the status for the very end."""
    session.config.teamwork_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """End at once: Blender's module can hang on its way out."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(getattr(config, "teamwork_status", 1))


@pytest.fixture
def scene():
    """The scene of an empty file."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    made = bpy.context.scene
    made.render.threads_mode, made.render.threads = "FIXED", 1
    made.render.resolution_x, made.render.resolution_y, made.render.resolution_percentage = 32, 24, 100
    return made


@pytest.fixture
def random():
    """A seeded generator."""
    return np.random.default_rng(0)


def principled(name: str, **values):
    """A material; `values` are its Principled inputs by name with underscores for spaces."""
    import bpy

    from blender_addon.materials import node_of, node_tree

    material = bpy.data.materials.new(name)
    shader = node_of(node_tree(material), "BSDF_PRINCIPLED")
    for key, value in values.items():
        shader.inputs[key.replace("_", " ")].default_value = value
    return material


def plane(material=None, size: float = 8.0):
    """A plane in z = 0."""
    import bpy

    bpy.ops.mesh.primitive_plane_add(size=size)
    made = bpy.context.object
    if material:
        made.data.materials.append(material)
    return made


def add(scene, name: str, data, location=(0, 0, 0), rotation=(0, 0, 0)):
    """Link an object with this data."""
    import bpy

    made = bpy.data.objects.new(name, data)
    made.location, made.rotation_euler = location, rotation
    scene.collection.objects.link(made)
    return made


def looking_down(scene, height: float = 3.0):
    """A camera above the origin, and a sun."""
    import bpy

    scene.camera = add(scene, "Camera", bpy.data.cameras.new("Camera"), (0, 0, height))
    sun = add(scene, "Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy = 3.0
    return scene.camera


def compositor(scene):
    """The scene's compositing nodes, without any, and the socket that becomes the picture."""
    import bpy

    if hasattr(scene, "compositing_node_group"):
        tree = scene.compositing_node_group = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        return tree, tree.nodes.new("NodeGroupOutput").inputs[0]
    scene.use_nodes = True
    scene.node_tree.nodes.clear()
    return scene.node_tree, scene.node_tree.nodes.new("CompositorNodeComposite").inputs[0]


def file_format(scene, name: str) -> None:
    """What renders are written as, in 32 bits; Blender 5 asks for the kind of file first."""
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE" if "MULTILAYER" in name else "IMAGE"
    settings.file_format, settings.color_depth = name, "32"


def snapshot(scene) -> dict:
    """What a user would notice if it changed: settings, layers, passes, nodes, selection, data-block names."""
    import bpy

    def settings(owner) -> dict:
        found = {}
        for prop in owner.bl_rna.properties:
            if prop.type in ("BOOLEAN", "INT", "FLOAT", "STRING", "ENUM"):
                value = getattr(owner, prop.identifier)
                found[prop.identifier] = tuple(value) if hasattr(value, "__len__") and not isinstance(value, (str, set)) else value
        return found

    parts = {"render": scene.render, "cycles": scene.cycles, "view": scene.view_settings, "scene": scene}
    state = {name: settings(owner) for name, owner in parts.items()}
    state["layers"] = [(settings(layer), sorted(a.name for a in layer.aovs)) for layer in scene.view_layers]
    state["nodes"] = {m.name: sorted(n.name for n in m.node_tree.nodes) for m in bpy.data.materials if m.node_tree}
    state["links"] = {m.name: len(m.node_tree.links) for m in bpy.data.materials if m.node_tree}
    state["objects"] = {o.name: (o.select_get(), tuple(o.location)) for o in scene.objects}
    kinds = ("scenes", "objects", "materials", "worlds", "cameras", "node_groups")
    state["data"] = {kind: sorted(b.name for b in getattr(bpy.data, kind)) for kind in kinds}
    state["frame"] = scene.frame_current
    return state
