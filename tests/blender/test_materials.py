# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels as a material and as a compositor group, evaluated by Blender."""

from __future__ import annotations

from itertools import combinations

import bpy
import numpy as np
import pytest

from blender_addon import compositing, images, materials, passes
from .conftest import add, compositor, file_format, looking_down, plane, principled

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
    trees = (material.node_tree, materials.group_of(material))
    return {(link.from_node.type, link.to_socket.name) for tree in trees if tree for link in tree.links}


def outside(material) -> set[tuple[str, str]]:
    """(output of the group, socket of another node)."""
    links = (link for link in material.node_tree.links if link.from_node.type == "GROUP")
    return {(link.from_socket.name, link.to_socket.name) for link in links}


def test_all_maps_reach_their_sockets(scene, random):
    material = materials.build("m", textures(random), materials.Setup(0.1, scale=2.0))
    made = linked(material)
    assert {("TEX_IMAGE", "Base Color"), ("TEX_IMAGE", "Metallic"), ("TEX_IMAGE", "Roughness")} <= made
    assert {("NORMAL_MAP", "Normal"), ("TEX_IMAGE", "Height"), ("MAPPING", "Vector"), ("GROUP_INPUT", "Scale")} <= made
    assert outside(material) == {(name, name) for name in ("Base Color", "Metallic", "Roughness", "Normal")}
    [node] = [node for node in material.node_tree.nodes if node.type == "GROUP"]
    values = {socket.name: socket.default_value for socket in node.inputs if socket.name != "Vector"}
    assert values == {"Scale": 2.0, "Normal Strength": 1.0, "Relief Depth": pytest.approx(0.1)}
    assert "Displacement" in node.outputs, "it stands ready"
    assert set(materials.maps_of(material)) == set(ALL)


@pytest.mark.parametrize("channels", [("albedo",), ("height",), ("normals", "roughness"), ()])
def test_any_subset_makes_a_material(scene, random, channels):
    material = materials.build("m", textures(random, channels), materials.Setup(0.1))
    assert set(materials.maps_of(material)) == set(channels)
    assert (("BUMP", "Normal") in linked(material)) == (channels == ("height",))


@pytest.mark.parametrize("relief", ["NORMAL_MAP", "BUMP", "DISPLACEMENT"])
def test_no_node_lies_on_another_one(scene, random, relief):
    made, tall = textures(random), {"TEX_IMAGE": 280.0, "MAPPING": 360.0}
    for channels in (each for count in range(len(ALL) + 1) for each in combinations(ALL, count)):
        material = materials.build("m", {name: made[name] for name in channels}, materials.Setup(0.1, relief=relief))
        for tree in (material.node_tree, next(n.node_tree for n in material.node_tree.nodes if n.type == "GROUP")):
            for a, b in combinations(tree.nodes, 2):
                beside = a.location.x + a.width <= b.location.x or b.location.x + b.width <= a.location.x
                upper, lower = sorted((a, b), key=lambda node: -node.location.y)
                assert beside or upper.location.y - tall.get(upper.type, 200.0) >= lower.location.y, (channels, a.name, b.name)


def test_displacement_moves_the_mesh_in_metres(scene, random):
    material = materials.build("m", textures(random), materials.Setup(0.1, size_metres=2.0, relief="DISPLACEMENT"))
    assert ("Displacement", "Displacement") in outside(material) and material.displacement_method == "BOTH"
    assert ("Normal", "Normal") not in outside(material), "the relief would be there twice"
    node = next(n for n in material.node_tree.nodes if n.type == "GROUP")
    assert node.inputs["Relief Depth"].default_value == pytest.approx(0.2)
    inner = next(n for n in materials.group_of(material).nodes if n.type == "DISPLACEMENT")
    assert inner.inputs["Midlevel"].default_value == 0.5


@pytest.mark.parametrize(
    ("relief", "channels", "feeds"),
    [
        ("BUMP", ("normals", "height"), "BUMP"),
        ("NORMAL_MAP", ("normals", "height"), "NORMAL_MAP"),
        ("BUMP", ("normals",), "NORMAL_MAP"),
        ("DISPLACEMENT", ("normals",), "NORMAL_MAP"),
        ("NORMAL_MAP", ("height",), "BUMP"),
    ],
)
def test_a_relief_that_lacks_its_map_becomes_another(scene, random, relief, channels, feeds):
    material = materials.build("m", textures(random, channels), materials.Setup(0.1, relief=relief))
    assert (feeds, "Normal") in linked(material) and ("Normal", "Normal") in outside(material)


def test_repeated_maps_are_lower(scene, random):
    """Half the width, half the depth: measured on a displaced surface by Cycles."""
    depths = []
    for scale in (1.0, 2.0):
        setup = materials.Setup(0.5, scale=scale, relief="DISPLACEMENT")
        material = materials.build("m", textures(random, height=1.0, channels=("height",)), setup)
        inner = next(n for n in materials.group_of(material).nodes if n.type == "MATH")
        thing = plane(material, size=2.0)
        looking_down(scene, 3.0)
        depths.append(3.0 - passes.render_channels(scene, samples=1)["depth"].data[12, 16, 0])
        bpy.data.objects.remove(thing)
        assert inner.operation == "DIVIDE"
    assert depths[0] == pytest.approx(0.25, abs=0.01) and depths[1] == pytest.approx(0.125, abs=0.01)


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
    assert materials.apply_to(thing, material, slot=1) and [s.material for s in thing.material_slots] == [other, material]
    assert materials.apply_to(thing, other, slot=1) and [s.material for s in thing.material_slots] == [other, other]
    assert not materials.apply_to(None, material)
    assert not materials.apply_to(bpy.data.objects.new("e", None), material)


def test_the_slot_of_a_drawing_keeps_the_material_of_its_strokes(scene):
    add_drawing = bpy.ops.object.grease_pencil_add if bpy.app.version >= (4, 3) else bpy.ops.object.gpencil_add
    add_drawing(type="STROKE")
    drawing = bpy.context.object
    before = [slot.material for slot in drawing.material_slots]
    assert before[0] is not None and not materials.apply_to(drawing, principled("mine"))
    assert [slot.material for slot in drawing.material_slots] == before


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


def mesh_of_another_file(tmp_path, slots: int):
    """An object of this file whose mesh is linked from another one, where it has so many slots."""
    thing = plane()
    for number in range(slots):
        thing.data.materials.append(principled(f"theirs {number}"))
    thing.data.name = "Theirs"
    bpy.data.libraries.write(str(tmp_path / "theirs.blend"), {thing.data})
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "theirs.blend"), link=True) as (_, wanted):
        wanted.meshes = ["Theirs"]
    return add(bpy.context.scene, "Mine", bpy.data.meshes["Theirs"])


def test_a_linked_mesh_gets_the_material_in_a_slot_of_the_object(scene, tmp_path):
    thing = mesh_of_another_file(tmp_path, slots=1)
    assert materials.apply_to(thing, principled("mine"))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "mine.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "mine.blend"))
    assert bpy.data.objects["Mine"].material_slots[0].material.name == "mine"


def test_a_linked_mesh_without_slots_takes_no_material(scene, tmp_path):
    thing = mesh_of_another_file(tmp_path, slots=0)
    assert not materials.apply_to(thing, principled("mine")) and not thing.data.materials


def test_a_slot_that_went_away_is_made_anew(scene):
    thing = plane()
    assert materials.apply_to(thing, principled("mine"), 2) and thing.data.materials[0].name == "mine"
