# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene's channels against what is known of the scene, and the scene untouched afterwards."""

from __future__ import annotations

import math

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from blender_addon import capture, materials, passes
from blender_addon.viewpoint import View
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


def test_a_scene_that_cycles_renders_in_tiles_has_the_same_channels(scene):
    plane(principled("m", Base_Color=COLOUR), size=1.0)
    looking_down(scene)
    scene.cycles.use_auto_tile = False
    whole = passes.render_channels(scene, samples=2)
    scene.cycles.use_auto_tile, scene.cycles.tile_size = True, 16
    tiled = passes.render_channels(scene, samples=2)
    assert all(np.allclose(tiled[name].data, whole[name].data, atol=1e-3) for name in whole) and whole["image"].data.any()


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


def test_without_cycles_is_one_sentence(scene):
    import addon_utils  # found since bpy is there

    looking_down(scene)
    addon_utils.disable("cycles")
    try:
        with pytest.raises(passes.PassError, match="enable the add-on Cycles Render Engine in the preferences"):
            passes.render_channels(scene, samples=1)
    finally:
        addon_utils.enable("cycles")
    assert "image" in passes.render_channels(scene, samples=1)


def test_a_marker_with_a_camera_does_not_take_the_view_s_place(scene):
    plane(principled("m"))
    marked, other = looking_down(scene, 9.0), looking_down(scene, 5.0)
    marker = scene.timeline_markers.new("cut", frame=1)
    marker.camera = marked
    scene.frame_set(1)
    assert centre(passes.render_channels(scene, samples=1, view=other)["depth"]) == pytest.approx(5.0, abs=1e-3)
    assert scene.camera == marked and scene.timeline_markers["cut"].camera == marked


def test_samples_of_the_view_layer_do_not_count(scene, monkeypatch):
    scene.view_layers[0].samples, rendered = 3000, []
    looking_down(scene)
    render = capture.render
    monkeypatch.setattr(capture, "render", lambda copy: rendered.append(copy.view_layers[0].samples) or render(copy))
    passes.render_channels(scene, samples=1)
    assert rendered == [0] and scene.view_layers[0].samples == 3000


def test_the_material_override_of_the_view_layer_is_what_is_seen(scene):
    plane(principled("Red", Base_Color=(0.8, 0.05, 0.05, 1.0)))
    looking_down(scene)
    shade = {"Base_Color": (0.05, 0.05, 0.8, 1.0), "Roughness": 0.3, "Specular_IOR_Level": 0.0}
    blue = scene.view_layers[0].material_override = principled("Blue", **shade)
    before = snapshot(scene)
    made = passes.render_channels(scene, samples=4)
    assert np.allclose(centre(made["albedo"]), (0.05, 0.05, 0.8), atol=1e-3) and centre(made["roughness"]) == pytest.approx(0.3, abs=1e-3)
    red, _, light = centre(made["image"])
    assert light > 5.0 * red
    assert snapshot(scene) == before and scene.view_layers[0].material_override == blue


def falling(scene):
    """A rigid body in its tenth frame, played from the first one."""
    thing = plane(principled("m"))
    looking_down(scene, 9.0)
    bpy.context.view_layer.objects.active = thing
    bpy.ops.rigidbody.object_add()
    for frame in range(1, 11):
        scene.frame_set(frame)


def test_rigid_bodies_that_are_not_baked_are_one_sentence(scene):
    falling(scene)
    with pytest.raises(passes.PassError, match="bake them"):
        passes.render_channels(scene, samples=1)


def test_rigid_bodies_are_rendered_where_they_start_and_where_they_are_baked(scene):
    falling(scene)
    scene.frame_set(1)
    assert centre(passes.render_channels(scene, samples=1)["depth"]) == pytest.approx(9.0, abs=0.05)
    with bpy.context.temp_override(scene=scene, point_cache=scene.rigidbody_world.point_cache):
        bpy.ops.ptcache.bake(bake=True)
    scene.frame_set(10)
    assert centre(passes.render_channels(scene, samples=1)["depth"]) > 9.2


@pytest.mark.parametrize("kind", ["PASSIVE", "kinematic"])
def test_bodies_that_physics_do_not_move_need_no_bake(scene, kind):
    falling(scene)
    body = bpy.context.view_layer.objects.active.rigid_body
    body.type, body.kinematic = ("PASSIVE", False) if kind == "PASSIVE" else ("ACTIVE", True)
    scene.frame_set(1)
    scene.frame_set(10)
    assert centre(passes.render_channels(scene, samples=1)["depth"]) == pytest.approx(9.0, abs=0.05)


def two_layers(scene):
    """A second view layer that the window shows, and does not show what is in the collection Near; gives that."""
    near, second = bpy.data.collections.new("Near"), scene.view_layers.new("Second")
    scene.collection.children.link(near)
    bpy.context.window_manager.windows[0].view_layer = second
    second.layer_collection.children["Near"].exclude = True
    return near


def test_of_several_view_layers_the_one_is_seen_that_blender_would_render_or_shows(scene):
    plane(principled("far"))
    looking_down(scene, 5.0)
    near = two_layers(scene)
    near.objects.link(add(scene, "Lid", bpy.data.meshes["Plane"], (0.0, 0.0, 2.0)))
    scene.collection.objects.unlink(bpy.data.objects["Lid"])
    bpy.context.view_layer.update()
    view = View(Matrix.Translation((0.0, 0.0, 5.0)), (0.4, 0.3), False, (0.1, 100.0))

    def distance(**how) -> float:
        return float(centre(passes.render_channels(scene, samples=1, **how)["depth"])[0])

    assert distance() == pytest.approx(3.0, abs=1e-3)
    assert distance(view=view) == pytest.approx(5.0, abs=1e-3), "as the viewport shows it"
    scene.render.use_single_layer = True
    before = snapshot(scene)
    assert distance() == pytest.approx(5.0, abs=1e-3) and snapshot(scene) == before
