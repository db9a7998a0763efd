# SPDX-License-Identifier: GPL-3.0-or-later
"""Results land in turns, one image in each: what Blender reads of them, and what may happen between two turns."""

from __future__ import annotations

import threading
import time

import bpy
import numpy as np
import pytest

from blender_addon import compositing, images
from blender_addon.materials import node_tree
from tests.blender.conftest import looking_down
from tests.blender.operating import addon, drain_until, echo_job, empty, models, photo  # noqa: F401 (fixtures)
from tests.blender.test_creation import image_of, noise, outside, white_box

PARTS = {"albedo", "diffuseshading", "residual", "normals", "depth", "roughness", "metalness"}


def decomposing(photo, monkeypatch):  # noqa: F811
    """A decomposition that is sent as in a window."""
    from blender_addon import jobs

    with monkeypatch.context() as patch:
        patch.setattr("blender_addon.operators.base.TaskOperator._wait", lambda self, sent: {"FINISHED"})
        bpy.ops.teamwork.decompose_image(filepath=str(photo), model="tiny")
    return jobs.JOBS[-1]


def arrived(photo, monkeypatch, turns: int):  # noqa: F811
    """Such a job when its result is here and has had so many turns."""
    from blender_addon import jobs

    job, known = decomposing(photo, monkeypatch), len(bpy.data.images)
    deadline = time.monotonic() + 180.0
    while len(bpy.data.images) < known + turns and time.monotonic() < deadline:
        jobs.drain()
        time.sleep(0.01)
    assert job.state == jobs.RUNNING and job.line == f"Unpacking {turns}/{len(PARTS)}"
    return job


def landed(job) -> dict[str, bpy.types.Image]:
    """What the job has made in the end, by channel; and nothing else that it left behind."""
    from blender_addon import jobs

    drain_until(lambda: job.state != jobs.RUNNING, 120.0)
    assert job.state == jobs.DONE and not jobs.ARRIVED and not job.ahead
    made = {image["teamwork_channel"]: image for image in bpy.data.images if "teamwork_channel" in image}
    left = [image.name for image in bpy.data.images if "teamwork_channel" not in image]
    assert set(left) <= {"wall.png"}
    assert {channel: image.name for channel, image in made.items()} == {channel: f"wall {channel}" for channel in PARTS}
    return made


def test_each_image_has_a_turn_of_its_own(photo, monkeypatch):
    from blender_addon import jobs

    job, counts = decomposing(photo, monkeypatch), [len(bpy.data.images)]
    deadline = time.monotonic() + 180.0
    while job.state == jobs.RUNNING and time.monotonic() < deadline:
        jobs.drain()
        counts.append(len(bpy.data.images))
        time.sleep(0.005)
    assert max(np.diff(counts)) == 1 and counts[-1] - counts[0] == len(PARTS)
    landed(job)


def test_no_file_is_read_while_a_decomposition_lands(photo, monkeypatch):
    made = landed(decomposing(photo, monkeypatch))
    assert not any(image.has_data for image in made.values())
    tree = bpy.data.node_groups["wall recomposed"]
    shown = {node.image for node in tree.nodes if node.type == "IMAGE"}
    assert shown == {made[part] for part in compositing.PARTS}
    assert images.read(made["albedo"]).shape == (16, 24, 3) and made["albedo"].has_data, "it is read when it is looked at"


def test_another_file_between_two_turns_has_the_whole_result(photo, monkeypatch):
    job = arrived(photo, monkeypatch, 3)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    landed(job)


def test_undo_between_two_turns_harms_nothing(photo, monkeypatch):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.ed.undo_push(message="cube")
    job = arrived(photo, monkeypatch, 2)
    bpy.ops.ed.undo()
    assert "Cube" not in bpy.data.objects
    landed(job)


def test_images_that_are_deleted_between_two_turns_are_made_again(photo, monkeypatch):
    job = arrived(photo, monkeypatch, 4)
    for image in list(bpy.data.images):
        bpy.data.images.remove(image)
    landed(job)


def test_a_job_that_is_given_up_between_two_turns_leaves_nothing(photo, monkeypatch):
    from blender_addon import jobs

    job = arrived(photo, monkeypatch, 3)
    job.end(jobs.FAILED, "Given up.")
    drain_until(lambda: not jobs.ARRIVED)
    assert {image.name for image in bpy.data.images} <= {"wall.png"} and job.line == "Given up."


def test_a_session_that_ends_between_two_turns_takes_nothing_away(photo, monkeypatch):
    job = arrived(photo, monkeypatch, 3)
    bpy.ops.teamwork.disconnect()
    landed(job)


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_landing_does_not_take_does_not_stay(monkeypatch, fails):
    from blender_addon import arrival, jobs

    monkeypatch.setattr(arrival, "IN_IMAGES", ("echo",))

    def land(result, job):
        assert len(job.ahead) == len(bpy.data.images) == 1
        if fails:
            raise KeyError("oops")
        return "Landed"

    job = echo_job(land)
    drain_until(lambda: job.state != jobs.RUNNING, 120.0)
    assert len(bpy.data.images) == int(fails), "a result that cannot land is rescued as images"


# ---- copies ----------------------------------------------------------------------------------------------------------


def inpainting(monkeypatch, **settings):
    """A job of Inpaint that is sent as in a window."""
    from blender_addon import jobs

    with monkeypatch.context() as patch:
        patch.setattr("blender_addon.operators.base.TaskOperator._wait", lambda self, sent: {"FINISHED"})
        bpy.ops.teamwork.inpaint(mask=white_box().name, mask_from="BRIGHT", model="maker", **settings)
    return jobs.JOBS[-1]


def test_the_copy_of_a_picture_is_made_beside_the_main_thread(monkeypatch):
    from blender_addon import jobs, rewriting

    image_of("wall", noise())
    made_in, whole = [], rewriting.Original.file
    monkeypatch.setattr(
        rewriting.Original, "file", lambda self, *words: made_in.append(threading.current_thread()) or whole(self, *words)
    )
    job = inpainting(monkeypatch, image="wall")
    drain_until(lambda: job.state != jobs.RUNNING, 120.0)
    assert job.state == jobs.DONE and made_in and threading.main_thread() not in made_in
    assert [image.name for image in bpy.data.images if "teamwork_channel" in image] == ["wall inpainted"]


def test_made_again_after_it_was_replaced_there_is_nothing_left_to_replace(monkeypatch):
    from blender_addon import jobs

    material, picture = bpy.data.materials.new("Paint"), image_of("wall", noise())
    node = node_tree(material).nodes.new("ShaderNodeTexImage")
    node.image = picture
    first = inpainting(monkeypatch, image="wall", replace=True)
    drain_until(lambda: first.state != jobs.RUNNING, 120.0)
    assert first.line == "Made the image wall inpainted in place of wall, which is kept"
    again = inpainting(monkeypatch, image="wall", replace=True, seed=1)
    drain_until(lambda: again.state != jobs.RUNNING, 120.0)
    assert again.line == "Made the image wall inpainted.001; wall is used nowhere any more, so nothing was replaced"
    assert node.image == bpy.data.images["wall inpainted"] and picture.use_fake_user


def test_a_picture_that_is_deleted_while_its_copy_is_made_costs_nothing(monkeypatch):
    from blender_addon import jobs

    image_of("wall", noise())
    job = inpainting(monkeypatch, image="wall")
    drain_until(lambda: jobs.ARRIVED, 120.0)
    bpy.data.images.remove(bpy.data.images["wall"])
    drain_until(lambda: job.state != jobs.RUNNING, 120.0)
    assert job.state == jobs.DONE and "wall is gone" in job.line and bpy.data.images["wall inpainted"]


def test_nothing_is_made_ahead_of_originals_that_only_the_landing_finds():
    from blender_addon.arrival import Arrival
    from blender_addon.job import Job
    from blender_addon.wire import ChannelImage, Result, Submit

    picture = ChannelImage(np.zeros((4, 4, 3), np.float32), "scene-linear")
    for task, more in (("inpaint", False), ("decompose", True)):
        job = Job(Submit("0" * 32, task, "nano", {}, (), {}), "Adopted", lambda result, job: "")
        assert Arrival(job, Result("0" * 32, {"image": picture}, {}), None).step() == more, task


def test_the_last_render_is_masked_and_inpainted(scene):
    bpy.ops.mesh.primitive_cube_add()
    looking_down(scene, 6.0)
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x = scene.render.resolution_y = 32
    bpy.ops.render.render()
    bpy.ops.teamwork.paint_mask(image="Render Result")
    assert tuple(bpy.context.scene.teamwork.mask.size) == (32, 32)
    bpy.ops.teamwork.inpaint(image="Render Result", mask=white_box().name, mask_from="BRIGHT", model="maker")
    before, after = (images.read(bpy.data.images[name]) for name in ("Render Result", "Render Result inpainted"))
    assert np.array_equal(after[outside()], before[outside()]) and not np.allclose(after, before, atol=0.02)


def test_every_part_of_a_decomposition_is_there_after_saving_and_opening_the_file(photo, monkeypatch, tmp_path):
    landed(decomposing(photo, monkeypatch))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    assert {image["teamwork_channel"] for image in bpy.data.images if "teamwork_channel" in image} == PARTS
