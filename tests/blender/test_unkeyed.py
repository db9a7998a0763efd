# SPDX-License-Identifier: GPL-3.0-or-later
"""What is animated and was moved without a key stays there while channels are rendered."""

from __future__ import annotations

import bpy
import pytest

from blender_addon import passes, unkeyed
from blender_addon.materials import node_of, node_tree

from .conftest import looking_down, plane, principled


def key(owner, path: str, value, moved) -> None:
    """Key a value, and then move it."""
    place, _, name = path.rpartition(".")
    holder = owner.path_resolve(place) if place else owner
    setattr(holder, name, value)
    holder.keyframe_insert(name, frame=1)
    setattr(holder, name, moved)


def render(scene) -> None:
    """The channels of the scene, and whatever Blender has left to do after it."""
    passes.render_channels(scene, samples=1)
    bpy.context.view_layer.update()


def test_a_pose_stays(scene):
    looking_down(scene)
    bpy.ops.object.armature_add()
    rig = bpy.context.object
    bone = rig.pose.bones[0]
    bone.name, bone.rotation_mode = 'Upper.001 "left"', "XYZ"
    bone["my.bend"] = 0.0
    bone.keyframe_insert("rotation_euler", frame=1)
    bone.keyframe_insert('["my.bend"]', frame=1)
    rig.keyframe_insert("location", index=2, frame=1)
    bone.rotation_euler, rig.location, bone["my.bend"] = (1, 0, 0), (1, 2, 3), 0.75
    bpy.context.view_layer.update()
    before = bone.matrix.copy()
    render(scene)
    assert tuple(bone.rotation_euler) == (1, 0, 0) and tuple(rig.location) == (1, 2, 3) and bone["my.bend"] == 0.75
    assert bone.matrix == before, "it is posed so, and not only said to be"


def test_materials_cameras_and_objects_stay(scene):
    camera, thing = looking_down(scene), plane(principled("Paint"))
    tree = node_tree(thing.active_material)
    rough = node_of(tree, "BSDF_PRINCIPLED").inputs["Roughness"]
    key(tree, f"{rough.path_from_id()}.default_value", 0.25, 0.75)
    key(camera.data, "lens", 50.0, 35.0)
    key(thing, "hide_render", True, False)
    key(thing, "rotation_mode", "XYZ", "ZYX")
    render(scene)
    assert rough.default_value == 0.75 and camera.data.lens == 35.0 and not thing.hide_render and thing.rotation_mode == "ZYX"


def test_what_strips_and_drivers_move_is_theirs(scene):
    thing = plane()
    looking_down(scene)
    key(thing, "location", (0, 0, 0), (1, 0, 0))
    data = thing.animation_data
    strip = data.nla_tracks.new().strips.new("Moves", 1, data.action)
    if hasattr(strip, "action_slot"):
        strip.action_slot = data.action_slot
    data.action = None
    thing.driver_add("scale", 0).driver.expression = "2.0"
    scene.frame_set(1)
    thing.location = (1, 0, 0)
    render(scene)
    assert tuple(thing.location) == (1, 0, 0) and thing.scale[0] == 2.0


def test_what_went_away_meanwhile_is_no_fault(scene):
    thing, other = plane(), plane()
    for each in (thing, other):
        key(each, "location", (0, 0, 0), (1, 0, 0))
    with unkeyed.kept():
        scene.frame_set(1)
        assert other.location.x == 0.0
        bpy.data.objects.remove(thing)
    assert other.location.x == 1.0


def test_it_is_put_back_also_when_there_is_no_picture(scene):
    thing = plane()
    key(thing, "location", (0, 0, 0), (1, 0, 0))
    with pytest.raises(RuntimeError), unkeyed.kept():
        scene.frame_set(1)
        raise RuntimeError("stopped")
    assert thing.location.x == 1.0
