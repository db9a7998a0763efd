# SPDX-License-Identifier: GPL-3.0-or-later
"""What may come in the middle of a job: cancel, undo, another file, an engine that stops, dies or was never there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import bpy

import blender_addon
from blender_addon.wire import ChannelImage
from tests.blender.operating import (  # noqa: F401 (fixtures)
    LONG,
    addon,
    cube,
    drain_until,
    echo_job,
    empty,
    models,
    photo,
    refused,
    running_job,
)
from tests.engine.conftest import ENGINE_PYTHON, ROOT, Engine

OTHER_PROTOCOL = """
import sys
import blender_addon.wire.frames as frames
import engine_server.requests as requests
frames.PROTOCOL = requests.PROTOCOL = frames.PROTOCOL + 1
from engine_server.__main__ import main
sys.exit(main())
"""
"""An engine of the next version of the protocol."""


def test_a_job_that_takes_too_long_is_given_up(photo):
    from blender_addon import jobs, recovery

    job = running_job()
    sentence = refused(bpy.ops.teamwork.material_from_image, filepath=str(photo), model="tiny", timeout=1.0)
    assert "within 1 s" in sentence and not bpy.data.materials
    given_up = jobs.JOBS[-1]
    assert not given_up.given_up and not given_up.submit.inputs  # the engine has let go of it, and the history holds no pixels
    assert given_up.job_id not in [entry.job_id for entry in recovery.ledger()._entries()]
    jobs.cancel(job)
    drain_until(lambda: job.state == jobs.CANCELLED)


# ---- the middle of a job ---------------------------------------------------------------------------------------------


def test_cancel_ends_the_job():
    from blender_addon import jobs

    first, second = running_job(), echo_job(**LONG)
    bpy.ops.teamwork.cancel(job=second.job_id)
    drain_until(lambda: second.state == jobs.CANCELLED)
    assert first.state == jobs.RUNNING
    bpy.ops.teamwork.cancel()
    drain_until(lambda: first.state == jobs.CANCELLED)


def start_material(photo: Path, apply_to: bpy.types.Object):
    """The operator's job, sent as in a window."""
    from blender_addon import images, jobs, landing
    from blender_addon.target import Target

    land = partial(landing.land_material, name="wall", source="wall.png", target=Target.of(apply_to))
    picture = ChannelImage(images.read(images.load(photo)), "scene-linear")
    return jobs.start("material", "tiny", {"image": picture}, ("albedo",), {}, "Material", land)


def test_an_object_that_goes_away_leaves_a_material_that_is_kept(photo, cube):
    from blender_addon import jobs

    job = start_material(photo, cube)
    bpy.data.objects.remove(cube)
    drain_until(lambda: job.state == jobs.DONE)
    assert "gone" in job.line and bpy.data.materials["wall"].use_fake_user


def test_an_object_of_the_same_name_in_another_file_is_another_one(photo, cube):
    from blender_addon import jobs

    job = start_material(photo, cube)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_cube_add()
    drain_until(lambda: job.state == jobs.DONE)
    assert bpy.context.object.name == "Cube" and bpy.context.object.active_material is None
    assert bpy.data.materials["wall"]


def test_an_object_that_is_renamed_gets_its_material(photo, cube):
    from blender_addon import jobs

    job = start_material(photo, cube)
    cube.name = "Box"
    drain_until(lambda: job.state == jobs.DONE)
    assert cube.active_material.name == "wall" and "Box" in job.line


def test_undo_in_the_middle_harms_nothing_and_undo_after_it_keeps_the_result(photo):
    from blender_addon import jobs

    bpy.ops.ed.undo_push(message="before")
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.ed.undo_push(message="cube")
    job = start_material(photo, bpy.context.object)
    bpy.ops.ed.undo()
    assert "Cube" not in bpy.data.objects
    drain_until(lambda: job.state == jobs.DONE)
    bpy.ops.mesh.primitive_plane_add()
    bpy.ops.ed.undo_push(message="plane")
    bpy.ops.ed.undo()
    assert "Plane" not in bpy.data.objects and "wall" in bpy.data.materials


def test_a_result_that_cannot_land_is_a_sentence():
    from blender_addon import jobs

    def land(result, job):
        raise KeyError("oops")

    job = echo_job(land)
    drain_until(lambda: job.state == jobs.FAILED)
    assert "KeyError" in job.line and "Made 1 images" in job.line
    assert [image.use_fake_user for image in bpy.data.images] == [True]


# ---- the engine ------------------------------------------------------------------------------------------------------


def test_memory_is_freed_unless_a_job_runs(photo):
    from blender_addon.engine import LINK

    bpy.ops.teamwork.material_from_image(filepath=str(photo), model="tiny", channels={"albedo"})
    assert bpy.ops.teamwork.unload() == {"FINISHED"} and LINK.unloaded.done
    job = running_job()
    assert not bpy.ops.teamwork.unload.poll()
    LINK.unload()  # as another Blender might, which does not know of our job
    drain_until(lambda: LINK.unloaded)
    assert not LINK.unloaded.done and "job is running" in LINK.unloaded.sentence
    bpy.ops.teamwork.cancel()
    drain_until(lambda: job.state != "running")


def test_a_killed_engine_ends_its_jobs_and_the_next_job_starts_another(photo):
    from blender_addon import jobs, launcher
    from blender_addon.engine import LINK

    jobs_running = [running_job(), echo_job(**LONG)]
    record = launcher.find_engine()
    os.kill(record.pid, signal.SIGKILL)
    drain_until(lambda: all(job.state == jobs.FAILED for job in jobs_running))
    assert record.address in jobs_running[0].line and not LINK.connected
    assert record.address in LINK.state()
    bpy.ops.teamwork.decompose_image(filepath=str(photo), model="tiny")
    assert launcher.find_engine().pid != record.pid


def test_stopping_the_engine_ends_its_jobs(photo):
    from blender_addon import jobs, launcher
    from blender_addon.engine import LINK

    job = running_job()
    bpy.ops.teamwork.disconnect()
    assert job.state == jobs.FAILED and job.line.endswith(".") and LINK.state() == "Not running"
    assert launcher.find_engine() is None
    assert bpy.ops.teamwork.test_engine() == {"FINISHED"} and LINK.state().startswith("Ready, on the CPU")


def test_without_an_engine_the_sentence_says_what_to_do(photo, monkeypatch):
    bpy.ops.teamwork.disconnect()
    monkeypatch.setenv("TEAMWORK_ENGINE_PYTHON", "/nowhere/python")
    for operator in (bpy.ops.teamwork.connect, bpy.ops.teamwork.test_engine):
        assert "no Python at /nowhere/python" in refused(operator)
    assert "preferences" in refused(bpy.ops.teamwork.decompose_image, filepath=str(photo))
    monkeypatch.setenv("TEAMWORK_ENGINE_PYTHON", "/bin/false")
    assert "ended at once" in refused(bpy.ops.teamwork.decompose_image, filepath=str(photo))


def test_an_engine_that_speaks_another_version_is_one_sentence(photo, monkeypatch, tmp_path):
    bpy.ops.teamwork.disconnect()
    home = tmp_path / "other"
    monkeypatch.setenv("TEAMWORK_HOME", str(home))
    engine = subprocess.Popen([ENGINE_PYTHON, "-c", OTHER_PROTOCOL, "serve", "--address", "127.0.0.1:0"], cwd=ROOT)
    try:
        from blender_addon import launcher

        deadline = time.monotonic() + 30.0
        while launcher.find_engine() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        for operator in (bpy.ops.teamwork.decompose_image, bpy.ops.teamwork.material_from_image):
            assert "version" in refused(operator, filepath=str(photo))
        sentence = refused(bpy.ops.teamwork.test_engine)
        assert "version" in sentence and sentence.endswith("quit that one first.")  # it is not ours to update
    finally:
        bpy.ops.teamwork.disconnect()
        engine.terminate()
        engine.wait(10)


def test_a_job_goes_to_the_engine_that_the_preferences_name_now(monkeypatch, tmp_path):
    """Not to the one before, whose owner may be somebody else by now; jobs that run end where they are."""
    from blender_addon import engine, jobs
    from blender_addon.engine import LINK
    from blender_addon.wire import Credentials, KeyRing

    old = running_job()
    other = Engine(tmp_path / "other", tmp_path, "--offline")
    try:
        KeyRing(other.home).add("blender", Credentials.local().client.public)
        there = engine.EngineSettings(True, other.address, KeyRing(other.home).pair("engine").public)
        monkeypatch.setattr(engine, "engine_settings", lambda: there)
        bpy.ops.teamwork.test_engine()
        assert old.state == jobs.RUNNING and LINK.moved
        jobs.cancel(old)
        drain_until(lambda: old.state == jobs.CANCELLED)
        new = echo_job()
        drain_until(lambda: new.state == jobs.DONE)
        assert not LINK.moved and LINK.engine_key == there.public_key
        with other.client() as client:
            assert client.status().done == 1
    finally:
        LINK.disconnect()
        other.stop()


def test_unregistering_in_the_middle_of_a_job_ends_it_and_the_engine():
    from blender_addon import launcher

    running_job()
    blender_addon.unregister()
    assert launcher.find_engine() is None
    blender_addon.register()
    assert bpy.ops.teamwork.test_engine() == {"FINISHED"}


# ---- what Blender is doing meanwhile ---------------------------------------------------------------------------------


def windows(*operators: str):
    """What Blender tells of its windows while such operators go on in the second one."""
    going_on = [SimpleNamespace(bl_idname=name) for name in operators]
    return SimpleNamespace(windows=[SimpleNamespace(), SimpleNamespace(modal_operators=going_on)])


def test_a_result_waits_for_the_end_of_a_stroke(monkeypatch):
    from blender_addon import jobs

    def going_on(*operators):
        monkeypatch.setattr(jobs, "bpy", SimpleNamespace(context=SimpleNamespace(window_manager=windows(*operators))))
        return jobs._in_a_stroke()

    assert going_on("PAINT_OT_image_paint") and going_on("WM_OT_mine", "TRANSFORM_OT_translate")
    assert not going_on() and not going_on("VIEW3D_OT_my_tool", "SCREEN_OT_animation_step")
