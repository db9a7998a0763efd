# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images of a material are its maps: each once, not those that only say how much, none of UDIM tiles."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from blender_addon import images
from blender_addon.material_maps import copy_with, maps_of
from tests.blender.conftest import principled


def texture(tree, name: str):
    """An image texture node with an image of four pixels."""
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = images.create(name, np.full((2, 2, 3), 0.5, np.float32), "albedo")
    return node


@pytest.fixture
def material(scene):
    return principled("wall")


def shader_of(material):
    return next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")


def test_an_image_that_serves_two_channels_stands_for_the_first(material):
    tree, shader = material.node_tree, shader_of(material)
    photo, ramp = texture(tree, "photo"), tree.nodes.new("ShaderNodeValToRGB")
    tree.links.new(photo.outputs["Color"], shader.inputs["Base Color"])
    tree.links.new(photo.outputs["Color"], ramp.inputs[0])
    tree.links.new(ramp.outputs[0], shader.inputs["Roughness"])
    assert maps_of(material) == {"albedo": photo.image}
    other = images.create("new", np.zeros((2, 2, 3), np.float32), "albedo")
    assert maps_of(copy_with(material, {photo.image: other})) == {"albedo": other}


@pytest.mark.parametrize("kind", ["ShaderNodeMix", "ShaderNodeMixRGB"])
def test_a_mask_that_mixes_two_colours_is_no_colour(material, kind):
    tree, shader = material.node_tree, shader_of(material)
    mix, dirt, paint = tree.nodes.new(kind), texture(tree, "dirt"), texture(tree, "paint")
    if kind == "ShaderNodeMix":
        mix.data_type = "RGBA"
    factor, *colours = (each for each in mix.inputs if each.enabled)
    tree.links.new(dirt.outputs["Color"], factor)
    tree.links.new(mix.outputs[0] if kind == "ShaderNodeMixRGB" else next(o for o in mix.outputs if o.enabled), shader.inputs[0])
    with pytest.raises(images.ImageError, match="no image textures"):
        maps_of(material)
    tree.links.new(paint.outputs["Color"], colours[1])
    assert maps_of(material) == {"albedo": paint.image}


def test_tiles_of_a_large_picture_are_one_sentence(material):
    tree = material.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.new("tiled", 4, 4, tiled=True)
    tree.links.new(node.outputs["Color"], shader_of(material).inputs["Base Color"])
    with pytest.raises(images.ImageError, match="tiled has UDIM tiles"):
        maps_of(material)
