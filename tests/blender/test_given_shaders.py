# SPDX-License-Identifier: GPL-3.0-or-later
"""Node groups that are given a shader from outside: what comes of it, and the groups as before."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from blender_addon import materials, passes
from .conftest import looking_down, plane
from .test_passes import centre
from .test_surfaces import diffuse, mix_of, of_group, seen_from_above, shader_tree, shape, trees


def dirt_group(factor=0.25):
    """A node group that mixes the shader it is given with a blue one."""
    group = bpy.data.node_groups.new("Dirt", "ShaderNodeTree")
    for way in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Shader", in_out=way, socket_type="NodeSocketShader")
    start, end = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    group.links.new(mix_of(group, factor, start.outputs[0], diffuse(group, (0, 0, 1, 1))), end.inputs[0])
    return group


def through(tree, group, shader):
    socket = of_group(tree, group)
    tree.links.new(shader, socket.node.inputs[0])
    return socket


def given_to_a_group(tree):
    return through(tree, dirt_group(), diffuse(tree, (1, 0, 0, 1)))


def passed_on_by_a_group(tree):
    group = dirt_group(0.0)
    start, end = (next(node for node in group.nodes if node.type == kind) for kind in ("GROUP_INPUT", "GROUP_OUTPUT"))
    group.links.new(start.outputs[0], end.inputs[0])
    return through(tree, group, diffuse(tree, (1, 0, 0, 1)))


def given_to_a_group_within_a_group(tree):
    outer = dirt_group()
    start, end = (next(node for node in outer.nodes if node.type == kind) for kind in ("GROUP_INPUT", "GROUP_OUTPUT"))
    outer.links.new(through(outer, dirt_group(0.5), start.outputs[0]), end.inputs[0])
    return through(tree, outer, diffuse(tree, (1, 0, 0, 1)))


def twice_through_the_same_group(tree):
    group = dirt_group(0.5)
    return through(tree, group, through(tree, group, diffuse(tree, (1, 0, 0, 1))))


def two_shaders_through_the_same_group(tree):
    group, colours = dirt_group(0.5), ((1, 0, 0, 1), (0, 1, 0, 1))
    return mix_of(tree, 0.5, *(through(tree, group, diffuse(tree, colour)) for colour in colours))


def nothing_given_to_a_group(tree):
    return of_group(tree, dirt_group(0.5))


def muted_group(tree):
    socket = given_to_a_group(tree)
    socket.node.mute = True
    return socket


GIVEN = [
    (given_to_a_group, (0.75, 0, 0.25)),
    (passed_on_by_a_group, (1, 0, 0)),
    (given_to_a_group_within_a_group, (0.5, 0, 0.5)),
    (twice_through_the_same_group, (0.25, 0, 0.75)),
    (two_shaders_through_the_same_group, (0.25, 0.25, 0.5)),
    (nothing_given_to_a_group, (0.4, 0.4, 0.9)),
    (muted_group, (1, 0, 0)),
]


@pytest.mark.parametrize(("build", "colour"), GIVEN)
def test_a_shader_that_is_given_to_a_group_is_seen_and_nothing_is_left(scene, build, colour):
    plane(shader_tree(build))
    looking_down(scene)
    before = [shape(tree) for tree in trees()]
    assert np.allclose(centre(passes.render_channels(scene, samples=1)["albedo"]), colour, atol=1e-3)
    assert [shape(tree) for tree in trees()] == before


def test_a_group_of_two_materials_is_given_a_shader_by_each(scene):
    group = dirt_group(0.5)
    red, green = ((lambda tree, colour=colour: through(tree, group, diffuse(tree, colour))) for colour in ((1, 0, 0, 1), (0, 1, 0, 1)))
    left, right = seen_from_above(scene, [red, green])
    assert np.allclose(left, (0.5, 0, 0.5), atol=1e-3) and np.allclose(right, (0, 0.5, 0.5), atol=1e-3)


def test_textures_of_a_shader_that_is_given_to_a_group_reach_it(scene):
    def build(tree):
        shader, value = materials.node_of(tree, "BSDF_PRINCIPLED"), tree.nodes.new("ShaderNodeValue")
        value.outputs[0].default_value = 0.8
        tree.links.new(value.outputs[0], shader.inputs["Roughness"])
        return through(tree, dirt_group(0.5), shader.outputs[0])

    plane(shader_tree(build))
    looking_down(scene)
    assert centre(passes.render_channels(scene, samples=1)["roughness"]) == pytest.approx(0.9, abs=1e-3)
