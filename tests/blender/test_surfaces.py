# SPDX-License-Identifier: GPL-3.0-or-later
"""Base colour, roughness and metalness of materials of every make, on whatever shows them, and the materials as before."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from blender_addon import materials, passes
from .conftest import add, looking_down, plane, principled
from .test_passes import centre


def shader_tree(build):
    """A material whose surface is made by `build(tree)`, which gives the shader's socket."""
    material = bpy.data.materials.new("built")
    tree = materials.node_tree(material)
    output = materials.node_of(tree, "OUTPUT_MATERIAL")
    tree.links.new(build(tree), output.inputs["Surface"])
    return material


def diffuse(tree, colour):
    node = tree.nodes.new("ShaderNodeBsdfDiffuse")
    node.inputs["Color"].default_value = colour
    return node.outputs[0]


def mixed(tree):
    return mix_of(tree, 0.25, diffuse(tree, (1, 0, 0, 1)), diffuse(tree, (0, 1, 0, 1)))


def grouped(tree):
    return of_group(tree, grey_group())


def with_emission(tree):
    node, light = tree.nodes.new("ShaderNodeAddShader"), tree.nodes.new("ShaderNodeEmission")
    tree.links.new(light.outputs[0], node.inputs[0])
    tree.links.new(diffuse(tree, (0, 1, 1, 1)), node.inputs[1])
    return node.outputs[0]


def glossy(tree):
    node = tree.nodes.new("ShaderNodeBsdfAnisotropic" if hasattr(bpy.types, "ShaderNodeBsdfAnisotropic") else "ShaderNodeBsdfGlossy")
    node.inputs["Color"].default_value = (0.9, 0.6, 0.2, 1)
    return node.outputs[0]


def muted(tree):
    socket = mix_of(tree, 1.0, diffuse(tree, (1, 0, 0, 1)), diffuse(tree, (0, 1, 0, 1)))
    socket.node.mute = True
    return socket


def muted_with_its_second_input(tree):
    socket = mixed(tree)
    tree.links.remove(socket.node.inputs[1].links[0])
    socket.node.mute = True
    return socket


def mix_of_muted(tree):
    off = diffuse(tree, (1, 0, 0, 1))
    off.node.mute = True
    return mix_of(tree, 0.5, off, diffuse(tree, (0, 1, 0, 1)))


@pytest.mark.parametrize(
    ("build", "colour", "metalness"),
    [
        (mixed, (0.75, 0.25, 0), 0.0),
        (grouped, (0, 0, 1), 0.0),
        (with_emission, (0, 1, 1), 0.0),
        (glossy, (0.9, 0.6, 0.2), 1.0),
        (muted, (1, 0, 0), 0.0),
        (muted_with_its_second_input, (0, 1, 0), 0.0),
        (mix_of_muted, (0.4, 0.9, 0.4), 0.0),
    ],
)
def test_materials_of_every_make_have_a_base_colour(scene, build, colour, metalness):
    plane(shader_tree(build))
    looking_down(scene)
    made = passes.render_channels(scene, samples=1)
    assert np.allclose(centre(made["albedo"]), colour, atol=1e-3)
    assert centre(made["metalness"]) == pytest.approx(metalness, abs=1e-3)


def test_textures_reach_the_roughness(scene):
    def build(tree):
        shader, value = materials.node_of(tree, "BSDF_PRINCIPLED"), tree.nodes.new("ShaderNodeValue")
        value.outputs[0].default_value = 0.85
        tree.links.new(value.outputs[0], shader.inputs["Roughness"])
        return shader.outputs[0]

    plane(shader_tree(build))
    looking_down(scene)
    assert centre(passes.render_channels(scene, samples=1)["roughness"]) == pytest.approx(0.85, abs=1e-3)


def grey_group(name="Inside", colour=(0, 0, 1, 1)):
    """A node group whose only output is a diffuse shader."""
    group = bpy.data.node_groups.new(name, "ShaderNodeTree")
    group.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    end = group.nodes.new("NodeGroupOutput")
    group.links.new(diffuse(group, colour), end.inputs[0])
    return group


def of_group(tree, group):
    node = tree.nodes.new("ShaderNodeGroup")
    node.node_tree = group
    return node.outputs[0]


def mix_of(tree, factor, first, second):
    node = tree.nodes.new("ShaderNodeMixShader")
    node.inputs[0].default_value = factor
    tree.links.new(first, node.inputs[1])
    tree.links.new(second, node.inputs[2])
    return node.outputs[0]


def group_and_shader(tree):
    return mix_of(tree, 0.25, of_group(tree, grey_group()), diffuse(tree, (1, 0, 0, 1)))


def twice_the_same_group(tree):
    group = grey_group()
    return mix_of(tree, 0.5, of_group(tree, group), mix_of(tree, 0.5, diffuse(tree, (1, 0, 0, 1)), of_group(tree, group)))


def mix_within_a_group_of_groups(tree):
    outer = bpy.data.node_groups.new("Outer", "ShaderNodeTree")
    outer.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    end = outer.nodes.new("NodeGroupOutput")
    outer.links.new(mix_of(outer, 0.25, of_group(outer, grey_group()), diffuse(outer, (1, 0, 0, 1))), end.inputs[0])
    return mix_of(tree, 0.5, of_group(tree, outer), diffuse(tree, (0, 1, 0, 1)))


@pytest.mark.parametrize(
    ("build", "colour"),
    [
        (group_and_shader, (0.25, 0, 0.75)),
        (twice_the_same_group, (0.25, 0, 0.75)),
        (mix_within_a_group_of_groups, (0.125, 0.5, 0.375)),
    ],
)
def test_a_group_is_mixed_with_other_shaders(scene, build, colour):
    plane(shader_tree(build))
    looking_down(scene)
    assert np.allclose(centre(passes.render_channels(scene, samples=1)["albedo"]), colour, atol=1e-3)


def seen_from_above(scene, build) -> list[np.ndarray]:
    """The base colours of two materials of a group, beside each other."""
    for x, each in zip((-2.0, 2.0), build, strict=True):
        plane(shader_tree(each), size=4.0).location = (x, 0, 0)
    looking_down(scene, 6.0)
    albedo = passes.render_channels(scene, samples=1)["albedo"].data
    return [albedo[12, 8], albedo[12, 24]]


def test_a_group_of_two_materials_is_written_once(scene):
    group = grey_group(colour=(0.2, 0.3, 0.4, 1))
    left, right = seen_from_above(scene, [lambda tree: of_group(tree, group)] * 2)
    assert np.allclose(left, (0.2, 0.3, 0.4), atol=1e-3) and np.allclose(right, left, atol=1e-3)


def test_a_group_that_is_all_of_one_material_and_mixed_in_another_is_written_once(scene):
    group = grey_group(colour=(0.2, 0.4, 0.4, 1))
    whole, part = lambda tree: of_group(tree, group), lambda tree: mix_of(tree, 0.5, of_group(tree, group), diffuse(tree, (0.6, 0, 0, 1)))
    left, right = seen_from_above(scene, [whole, part])
    assert np.allclose(left, (0.2, 0.4, 0.4), atol=1e-3) and np.allclose(right, (0.4, 0.2, 0.2), atol=1e-3)


def trees():
    return [each.node_tree for each in bpy.data.materials if each.node_tree] + list(bpy.data.node_groups)


def shape(tree):
    """All that taps could change of a tree."""
    items = [(item.name, item.identifier) for item in tree.interface.items_tree]
    links = sorted((link.from_node.name, link.from_socket.identifier, link.to_node.name, link.to_socket.identifier) for link in tree.links)
    return tree.name, [node.name for node in tree.nodes], [(len(node.inputs), len(node.outputs)) for node in tree.nodes], items, links


@pytest.mark.parametrize("build", [grouped, group_and_shader, twice_the_same_group, mix_within_a_group_of_groups])
def test_materials_and_groups_are_as_before(scene, build):
    plane(shader_tree(build))
    looking_down(scene)
    before = [shape(tree) for tree in trees()]
    passes.render_channels(scene, samples=1)
    assert [shape(tree) for tree in trees()] == before


# What shows a material


def test_what_has_no_material_is_what_cycles_takes_it_for(scene):
    plane()
    looking_down(scene)
    made = passes.render_channels(scene, samples=1)
    assert np.allclose(centre(made["albedo"]), 0.8) and centre(made["roughness"]) == pytest.approx(0.5)
    assert centre(made["metalness"]) == 0.0


def test_a_black_material_stays_black(scene):
    plane(principled("m", Base_Color=(0, 0, 0, 1), Roughness=0.0))
    looking_down(scene)
    made = passes.render_channels(scene, samples=1)
    assert not centre(made["albedo"]).any() and centre(made["roughness"]) == 0.0


def test_an_instanced_collection_has_its_materials(scene):
    inner, outer = bpy.data.collections.new("Inner"), bpy.data.collections.new("Outer")
    thing = plane(principled("m", Base_Color=(0.3, 0.5, 0.7, 1)))
    for collection in thing.users_collection:
        collection.objects.unlink(thing)
    inner.objects.link(thing)
    nested = bpy.data.objects.new("Nested", None)
    nested.instance_type, nested.instance_collection = "COLLECTION", inner
    outer.objects.link(nested)
    standing = add(scene, "Standing for it", None)
    standing.instance_type, standing.instance_collection = "COLLECTION", outer
    looking_down(scene)
    assert np.allclose(centre(passes.render_channels(scene, samples=1)["albedo"]), (0.3, 0.5, 0.7), atol=1e-4)


def test_a_material_that_geometry_nodes_set_is_seen(scene):
    group = bpy.data.node_groups.new("Set", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    start, end, chosen = (group.nodes.new(kind) for kind in ("NodeGroupInput", "NodeGroupOutput", "GeometryNodeSetMaterial"))
    chosen.inputs["Material"].default_value = principled("m", Base_Color=(0.3, 0.5, 0.7, 1))
    group.links.new(start.outputs[0], chosen.inputs["Geometry"])
    group.links.new(chosen.outputs["Geometry"], end.inputs[0])
    plane().modifiers.new("Set", "NODES").node_group = group
    looking_down(scene)
    assert np.allclose(centre(passes.render_channels(scene, samples=1)["albedo"]), (0.3, 0.5, 0.7), atol=1e-4)
    scene.view_layers[0].use = False  # and shows nothing of it either
    inside, others = bpy.data.collections.new("Inside"), scene.view_layers.new("Rendered")
    scene.collection.children.link(inside)
    inside.objects.link(bpy.data.objects["Plane"])
    scene.collection.objects.unlink(bpy.data.objects["Plane"])
    scene.view_layers[0].layer_collection.children["Inside"].exclude = True
    assert others.use and np.allclose(centre(passes.render_channels(scene, samples=1)["albedo"]), (0.3, 0.5, 0.7), atol=1e-4)


def test_passes_of_the_same_name_that_the_user_has_made_do_not_add_up(scene):
    aov = scene.view_layers[0].aovs.add()
    aov.name, aov.type = "Teamwork albedo", "COLOR"
    material = principled("m", Base_Color=(0.3, 0.5, 0.7, 1))
    own = material.node_tree.nodes.new("ShaderNodeOutputAOV")
    own.aov_name = "Teamwork albedo"
    own.inputs["Color"].default_value = (0.3, 0.5, 0.7, 1)
    plane(material)
    looking_down(scene)
    assert np.allclose(centre(passes.render_channels(scene, samples=1)["albedo"]), (0.3, 0.5, 0.7), atol=1e-4)


def faded(tree, alpha):
    shader = materials.node_of(tree, "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value, shader.inputs["Roughness"].default_value = (0.1, 0.6, 0.2, 1), 0.9
    shader.inputs["Alpha"].default_value = alpha
    return shader.outputs[0]


def cut_out(tree, alpha):
    hole = tree.nodes.new("ShaderNodeBsdfTransparent").outputs[0]
    return mix_of(tree, alpha, hole, faded(tree, 1.0))


@pytest.mark.parametrize("build", [faded, cut_out])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_what_can_be_seen_through_is_not_added_to_what_is_behind_it(scene, build, alpha):
    colour, roughness = ((0.1, 0.6, 0.2), 0.9) if alpha else ((0.8, 0.1, 0.1), 0.3)
    plane(principled("Behind", Base_Color=(0.8, 0.1, 0.1, 1), Roughness=0.3))
    plane(shader_tree(lambda tree: build(tree, alpha))).location.z = 1.0
    looking_down(scene)
    made = passes.render_channels(scene, samples=1)
    assert np.allclose(centre(made["albedo"]), colour, atol=1e-3)
    assert centre(made["roughness"]) == pytest.approx(roughness, abs=1e-3)
