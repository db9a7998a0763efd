# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels as a material and as a compositor group, evaluated by Blender."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from blender_addon import compositing, images, materials, passes
from .conftest import compositor, file_format, looking_down, plane

ALL = {"albedo": 3, "metalness": 1, "roughness": 1, "normals": 3, "height": 1}


def textures(random, channels=ALL, **constant) -> dict:
    """An image for each channel, random or of one value."""
    made = {}
    for channel in channels:
        value = constant.get(channel)
        shape = (8, 8, ALL[channel])
        array = random.random(shape, np.float32) if value is None else np.broadcast_to(np.float32(value), shape)
        made[channel] = images.create(f"t {channel}", array, channel)
    return made


def linked(material) -> set[tuple[str, str]]:
    """(type of the node that feeds, socket that is fed)."""
    return {(link.from_node.type, link.to_socket.name) for link in material.node_tree.links}


def test_all_maps_reach_their_sockets(scene, random):
    made = linked(materials.build("m", textures(random), 0.1))
    assert {("TEX_IMAGE", "Base Color"), ("TEX_IMAGE", "Metallic"), ("TEX_IMAGE", "Roughness")} <= made
    assert {("NORMAL_MAP", "Normal"), ("TEX_IMAGE", "Height"), ("MAPPING", "Vector"), ("VALUE", "Scale")} <= made
    assert ("DISPLACEMENT", "Displacement") not in made  # the relief would be there twice


@pytest.mark.parametrize("channels", [("albedo",), ("height",), ("normals", "roughness"), ()])
def test_any_subset_makes_a_material(scene, random, channels):
    material = materials.build("m", textures(random, channels), 0.1)
    assert sum(node.type == "TEX_IMAGE" for node in material.node_tree.nodes) == len(channels)
    assert (("BUMP", "Normal") in linked(material)) == (channels == ("height",))


def test_displacement_moves_the_mesh_in_metres(scene, random):
    material = materials.build("m", textures(random), 0.1, size_metres=2.0, displace=True)
    node = next(n for n in material.node_tree.nodes if n.type == "DISPLACEMENT")
    assert ("DISPLACEMENT", "Displacement") in linked(material) and material.displacement_method == "DISPLACEMENT"
    assert node.inputs["Scale"].default_value == pytest.approx(0.2) and node.inputs["Midlevel"].default_value == 0.5


def test_what_cycles_sees_is_what_was_sent(scene, random):
    plane(materials.build("m", textures(random, albedo=(0.2, 0.4, 0.6), roughness=0.3, metalness=0.6, normals=(0, 0, 1))))
    looking_down(scene)
    made = passes.render_channels(scene, samples=1)
    middle = {name: channel.data[12, 16] for name, channel in made.items()}
    assert np.allclose(middle["albedo"], (0.2, 0.4, 0.6), atol=0.01)
    assert middle["roughness"] == pytest.approx(0.3, abs=0.01) and middle["metalness"] == pytest.approx(0.6, abs=0.01)
    assert np.allclose(middle["normals"], (0, 0, 1), atol=0.01)


def test_a_normal_map_turns_the_surface_to_its_side(scene, random):
    right = np.float32([0.5, 0, 0.75**0.5])
    plane(materials.build("m", textures(random, normals=right)))
    looking_down(scene)
    normal = passes.render_channels(scene, samples=1)["normals"].data[12, 16]
    assert np.allclose(normal, right, atol=0.02)


def test_applied_to_slots_and_to_what_has_none(scene, random):
    material = materials.build("m", textures(random, ("albedo",)))
    thing = plane()
    assert materials.apply_to(thing, material) and thing.material_slots[0].material == material
    other = materials.build("n", {})
    assert materials.apply_to(thing, other) and [s.material for s in thing.material_slots] == [other]
    assert not materials.apply_to(None, material)
    assert not materials.apply_to(bpy.data.objects.new("e", None), material)


def parts(random) -> dict:
    """A decomposition with a negative residual here and there."""
    shapes = {"albedo": 3, "metalness": 1, "diffuseshading": 3, "residual": 3}
    arrays = {n: random.random((16, 16, c), np.float32) - np.float32(0.5 if n == "residual" else 0) for n, c in shapes.items()}
    return {n: images.create(n, array, n) for n, array in arrays.items()}


@pytest.mark.parametrize("shown", ["Image", "Albedo", "Shading", "Residual"])
@pytest.mark.parametrize("graded", [False, True])
def test_the_compositor_recomposes_the_image(scene, random, tmp_path, graded, shown):
    made, white = parts(random), (1.0, 1.0, 1.0)
    gains = [(0.5, 1.0, 2.0), (3.0, 2.0, 1.0), (0.0, 1.5, 1.0)] if graded else [white] * 3
    tree, end = compositor(scene)
    node = tree.nodes.new("CompositorNodeGroup")
    node.node_tree = compositing.recompose_group("whole", made)
    for name, gain in zip(("Albedo Gain", "Shading Gain", "Residual Gain"), gains, strict=True):
        if graded:
            node.inputs[name].default_value = (*gain, 1.0)
        assert tuple(node.inputs[name].default_value)[:3] == gain, "white changes nothing"
    tree.links.new(node.outputs[shown], end)
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x = scene.render.resolution_y = 16
    file_format(scene, "OPEN_EXR")
    scene.render.filepath = str(tmp_path / "whole.exr")
    looking_down(scene)
    bpy.ops.render.render(write_still=True)
    arrays = {n: images.read(image) for n, image in made.items()}
    albedo, shading, residual = (arrays[n] * gain for n, gain in zip(("albedo", "diffuseshading", "residual"), gains, strict=True))
    whole = albedo * (1 - arrays["metalness"]) * shading + residual
    expected = {"Image": whole, "Albedo": albedo, "Shading": shading, "Residual": residual}[shown]
    assert np.allclose(images.read(images.load(tmp_path / "whole.exr")), expected, atol=1e-3)


def test_without_its_parts_there_is_no_group(scene, random):
    made = parts(random)
    del made["residual"]
    assert compositing.recompose_group("whole", made) is None and not bpy.data.node_groups
