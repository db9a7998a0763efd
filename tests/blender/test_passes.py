# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene's channels against what is known of the scene, and the scene untouched afterwards."""

from __future__ import annotations

import math

import bpy
import numpy as np
import pytest

from blender_addon import capture, materials, passes
from .conftest import add, looking_down, plane, principled, snapshot

COLOUR = (0.3, 0.5, 0.7, 1.0)


def centre(channel) -> np.ndarray:
    """The values in the middle."""
    height, width, _ = channel.data.shape
    return channel.data[height // 2, width // 2]


def test_a_plane_below_the_camera(scene):
    plane(principled("m", Base_Color=COLOUR, Roughness=0.4, Metallic=0.25))
    looking_down(scene, 3.0)
    made = passes.render_channels(scene, samples=2)
    assert set(made) == {"image", "albedo", "roughness", "metalness", "normals", "depth"}
    assert all(channel.data.shape[:2] == (24, 32) for channel in made.values())
    assert np.allclose(centre(made["albedo"]), COLOUR[:3], atol=1e-4)
    assert centre(made["roughness"]) == pytest.approx(0.4, abs=1e-4)
    assert centre(made["metalness"]) == pytest.approx(0.25, abs=1e-4)
    assert np.allclose(made["normals"].data, (0, 0, 1), atol=1e-3)
    assert np.allclose(made["depth"].data, 3.0, atol=1e-3)
    assert made["normals"].space == "camera-normal" and made["image"].space == "scene-linear"


def test_normals_are_those_the_camera_sees(scene):
    tilted = plane(principled("m"))
    tilted.rotation_euler = (0, math.radians(30), 0)  # its right side goes down: it faces right
    looking_down(scene, 5.0)
    normal = centre(passes.render_channels(scene, samples=2)["normals"])
    assert np.allclose(normal, (math.sin(math.radians(30)), 0, math.cos(math.radians(30))), atol=1e-3)


def test_a_turned_camera_changes_no_normal_of_a_plane_it_faces(scene):
    plane(principled("m"))
    camera = looking_down(scene, 3.0)
    camera.rotation_euler = (0, 0, 1.0)
    assert np.allclose(passes.render_channels(scene, samples=1)["normals"].data, (0, 0, 1), atol=1e-3)


def test_the_background_is_far_away_and_faces_the_viewer(scene):
    looking_down(scene)
    made = passes.render_channels(scene, samples=1)
    assert (made["depth"].data >= passes.NO_SURFACE).all()
    assert np.allclose(made["normals"].data, (0, 0, 1))


def test_rows_run_from_the_top(scene):
    upper = plane(principled("m", Base_Color=COLOUR), size=4.0)
    upper.location = (0, 2.0, 0)
    looking_down(scene, 3.0)
    depth = passes.render_channels(scene, samples=1)["depth"].data
    assert depth[2, 16] < 10 and depth[-2, 16] > 1e8


def test_truth_adds_up(scene):
    plane(principled("m", Base_Color=COLOUR, Roughness=0.4, Metallic=0.25))
    looking_down(scene)
    made = {name: channel.data for name, channel in passes.render_truth(scene, samples=8, denoise=False).items()}
    assert np.allclose(made["diffuse"] * made["diffuseshading"] + made["residual"], made["image"], atol=1e-5)
    assert np.allclose(made["diffuseshading"][12, 16], 3 / math.pi, rtol=0.02)  # a sun of 3 W/m2, overhead


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
    node = tree.nodes.new("ShaderNodeMixShader")
    node.inputs[0].default_value = 0.25
    tree.links.new(diffuse(tree, (1, 0, 0, 1)), node.inputs[1])
    tree.links.new(diffuse(tree, (0, 1, 0, 1)), node.inputs[2])
    return node.outputs[0]


def grouped(tree):
    group = bpy.data.node_groups.new("Inside", "ShaderNodeTree")
    group.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    end = group.nodes.new("NodeGroupOutput")
    group.links.new(diffuse(group, (0, 0, 1, 1)), end.inputs[0])
    node = tree.nodes.new("ShaderNodeGroup")
    node.node_tree = group
    return node.outputs[0]


def with_emission(tree):
    node, light = tree.nodes.new("ShaderNodeAddShader"), tree.nodes.new("ShaderNodeEmission")
    tree.links.new(light.outputs[0], node.inputs[0])
    tree.links.new(diffuse(tree, (0, 1, 1, 1)), node.inputs[1])
    return node.outputs[0]


def glossy(tree):
    node = tree.nodes.new("ShaderNodeBsdfAnisotropic" if hasattr(bpy.types, "ShaderNodeBsdfAnisotropic") else "ShaderNodeBsdfGlossy")
    node.inputs["Color"].default_value = (0.9, 0.6, 0.2, 1)
    return node.outputs[0]


@pytest.mark.parametrize(
    ("build", "colour", "metalness"),
    [
        (mixed, (0.75, 0.25, 0), 0.0),
        (grouped, (0, 0, 1), 0.0),
        (with_emission, (0, 1, 1), 0.0),
        (glossy, (0.9, 0.6, 0.2), 1.0),
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


def test_an_object_without_material_renders(scene):
    plane()
    looking_down(scene)
    assert np.isfinite(passes.render_channels(scene, samples=1)["albedo"].data).all()


def busy_scene(scene):
    """Settings that must come back."""
    plane(principled("m"))
    looking_down(scene)
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.cycles.samples = 77
    scene.render.use_border = True
    scene.frame_set(17)
    scene.view_layers[0].aovs.add().name = "Mine"
    bpy.ops.object.select_all(action="DESELECT")
    add(scene, "Empty", None).select_set(True)


def test_the_scene_is_as_it_was(scene):
    busy_scene(scene)
    before = snapshot(scene)
    passes.render_channels(scene, samples=1, resolution=(8, 8))
    assert snapshot(scene) == before


def test_the_scene_is_as_it_was_after_an_error(scene, monkeypatch):
    busy_scene(scene)
    before = snapshot(scene)

    def fail(*args):
        raise capture.CaptureError("It broke.")

    monkeypatch.setattr(capture, "read_layer", fail)
    with pytest.raises(passes.PassError):
        passes.render_channels(scene, samples=1, resolution=(8, 8))
    assert snapshot(scene) == before
    assert not hasattr(bpy.types, capture.IDENTIFIER)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda s: setattr(s, "camera", None), "no camera"),
        (lambda s: setattr(s.render, "use_multiview", True), "Stereoscopy"),
        (lambda s: setattr(s.camera.data, "type", "PANO"), "panoramic"),
    ],
)
def test_what_cannot_be_rendered_is_one_sentence(scene, harm, words):
    looking_down(scene)
    harm(scene)
    with pytest.raises(passes.PassError, match=words):
        passes.render_channels(scene)
