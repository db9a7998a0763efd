# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators with a real engine, which the first of them starts, and a tiny team: what lands, and what goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

import blender_addon
from blender_addon.wire import ChannelImage
from tests.engine.conftest import ROOT, models  # noqa: F401 (a fixture)

LONG = {"steps": 10_000, "seconds_per_step": 0.05}
OTHER_PROTOCOL = """
import sys
import blender_addon.wire.frames as frames
import engine_server.requests as requests
frames.PROTOCOL = requests.PROTOCOL = frames.PROTOCOL + 1
from engine_server.__main__ import main
sys.exit(main())
"""
"""An engine of the next version of the protocol."""


@pytest.fixture(scope="module", autouse=True)
def addon(tmp_path_factory, models):  # noqa: F811
    """The add-on, registered as a user has it, with a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEAMWORK_HOME", str(tmp_path_factory.mktemp("blender") / "home"))
        patch.setenv("TEAMWORK_MODELS", str(models))
        patch.setenv("TEAMWORK_ENGINE_PYTHON", sys.executable)
        blender_addon.register()
        yield
        blender_addon.unregister()


@pytest.fixture(autouse=True)
def empty():
    """A new file for each test."""
    bpy.ops.wm.read_factory_settings(use_empty=True)


@pytest.fixture
def photo(tmp_path) -> Path:
    """A seeded photo, 24 x 16."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wall.png")
    return tmp_path / "wall.png"


@pytest.fixture
def cube() -> bpy.types.Object:
    """An object without a material, active."""
    bpy.ops.mesh.primitive_cube_add()
    return bpy.context.object


def refused(operator, **settings) -> str:
    """The one sentence of an operator that cannot do what it is asked for."""
    with pytest.raises(RuntimeError) as caught:
        operator(**settings)
    text = str(caught.value).strip()
    assert text.startswith("Error: ") and "\n" not in text and "Traceback" not in text
    assert "fault of Teamwork" not in text
    return text.removeprefix("Error: ")


def echo_job(land=lambda result, job: "Landed", **options):
    """A job that gives a grey picture back, sent as in a window: nothing waits for it."""
    from blender_addon import jobs

    picture = ChannelImage(np.full((4, 6, 3), 0.5, np.float32), "scene-linear")
    return jobs.start("echo", "", {"image": picture}, (), options, "Echo", land)


def drain_until(done, seconds: float = 30.0) -> None:
    """What the timer does in a window, until something is the case."""
    from blender_addon import jobs

    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        jobs.drain()
        time.sleep(0.01)
    assert done()


def running_job(**options):
    """An echo job that has begun and goes on for minutes."""
    job = echo_job(**(LONG | options))
    drain_until(lambda: job.factor > 0.0)
    return job


# ---- what lands ------------------------------------------------------------------------------------------------------


def test_a_photo_becomes_a_material_on_the_active_object(photo, cube):
    bpy.ops.teamwork.material_from_image(filepath=str(photo), model="tiny", seed=7, apply=True)
    material = cube.active_material
    assert material.name == "wall"
    textures = {node.image["teamwork_channel"]: node.image for node in material.node_tree.nodes if node.type == "TEX_IMAGE"}
    assert set(textures) == {"albedo", "roughness", "metalness", "normals", "height"}
    spaces = {channel: image.colorspace_settings.name for channel, image in textures.items()}
    assert spaces.pop("albedo") == "sRGB" and set(spaces.values()) == {"Non-Color"}
    for image in textures.values():
        assert tuple(image.size) == (24, 16) and image.packed_file
    for made in (material, *textures.values()):
        assert made["teamwork_task"] == "material" and made["teamwork_model"] == "tiny" and made["teamwork_seed"] == 7
        assert made["teamwork_source"] == "wall.png" and made["teamwork_steps"] == 2
        assert len(made["teamwork_model_hash"]) >= 8 and made["teamwork_job"] and made["teamwork_time"]


def test_only_the_wanted_maps_are_made(photo):
    bpy.ops.teamwork.material_from_image(filepath=str(photo), model="tiny", channels={"roughness"}, material_name="dull")
    made = [image["teamwork_channel"] for image in bpy.data.images if "teamwork_channel" in image]
    assert made == ["roughness"] and bpy.data.materials["dull"]


def test_the_same_seed_gives_the_same_maps(photo):
    from blender_addon import images

    maps = []
    for name in ("one", "two"):
        bpy.ops.teamwork.material_from_image(filepath=str(photo), model="tiny", material_name=name, seed=3)
        maps.append(images.read(bpy.data.images[f"{name} albedo"]))
    assert np.array_equal(*maps)


def test_the_parts_of_an_image_add_up_to_it(photo):
    from blender_addon import images

    picture = images.load(photo)
    bpy.ops.teamwork.decompose_image(image=picture.name, model="tiny")
    made = {image["teamwork_channel"]: images.read(image) for image in bpy.data.images if "teamwork_channel" in image}
    assert set(made) == {"albedo", "diffuseshading", "residual", "normals", "depth", "roughness", "metalness"}
    whole = made["albedo"] * (1.0 - made["metalness"][..., :1]) * made["diffuseshading"] + made["residual"]
    assert np.abs(whole - images.read(picture)).mean() < 0.01, "but for albedo and metalness in 8 bits"
    group = bpy.data.node_groups["wall recomposed"]
    assert group["teamwork_task"] == "decompose" and group.bl_idname == "CompositorNodeTree"


def scene_with_camera(size: int = 16) -> bpy.types.Scene:
    """A lit cube before a camera."""
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = size
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.object.data.materials.append(bpy.data.materials.new("Paint"))
    bpy.ops.object.light_add(type="SUN")
    bpy.ops.object.camera_add(location=(0, 0, 6))
    scene.camera = bpy.context.object
    return scene


def state_of(scene: bpy.types.Scene) -> dict:
    """What a render must leave as it was."""
    render = {each.identifier: str(getattr(scene.render, each.identifier)) for each in scene.render.bl_rna.properties}
    cycles = {name: str(getattr(scene.cycles, name)) for name in ("samples", "use_denoising", "use_adaptive_sampling")}
    layer = scene.view_layers[0]
    passes = {name: getattr(layer, name) for name in dir(layer) if name.startswith("use_pass")}
    nodes = {material.name: len(material.node_tree.nodes) for material in bpy.data.materials if material.node_tree}
    counts = [len(bpy.data.scenes), len(bpy.data.objects), len(layer.aovs), scene.frame_current]
    return {"render": render, "cycles": cycles, "passes": passes, "nodes": nodes, "counts": counts}


def test_a_scene_is_shaded_and_left_as_it_was():
    scene = scene_with_camera()
    before = state_of(scene)
    bpy.ops.teamwork.neural_render(model="tiny", samples=1)
    image = bpy.data.images["Neural Render"]
    assert tuple(image.size) == (16, 16) and image.is_float and image["teamwork_source"] == scene.name
    assert state_of(scene) == before


def test_what_was_made_is_there_after_saving_and_loading(photo, tmp_path, cube):
    bpy.ops.teamwork.material_from_image(filepath=str(photo), model="tiny", apply=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    photo.unlink()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    textures = [node.image for node in bpy.data.materials["wall"].node_tree.nodes if node.type == "TEX_IMAGE"]
    assert len(textures) == 5 and all(image.has_data or image.pixels[0] >= 0.0 for image in textures)


# ---- mistakes --------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_picture_is_one_sentence(tmp_path):
    (tmp_path / "text.png").write_text("This is a text.")
    (tmp_path / "empty.png").touch()
    for operator in (bpy.ops.teamwork.material_from_image, bpy.ops.teamwork.decompose_image):
        assert "no file" in refused(operator, filepath=str(tmp_path / "none.png"))
        assert "not an image" in refused(operator, filepath=str(tmp_path / "text.png"))
        assert "empty" in refused(operator, filepath=str(tmp_path / "empty.png"))
        assert "no file" in refused(operator, filepath=str(tmp_path))
        assert "no image named 'gone'" in refused(operator, image="gone")
        assert "No picture was chosen" in refused(operator)
    assert not bpy.data.images and not bpy.data.materials


def test_one_pixel_is_a_picture(tmp_path):
    Image.new("RGB", (1, 1), (200, 100, 50)).save(tmp_path / "pixel.png")
    bpy.ops.teamwork.material_from_image(filepath=str(tmp_path / "pixel.png"), model="tiny")
    assert tuple(bpy.data.images["pixel albedo"].size) == (1, 1)


def test_a_grey_picture_of_16_bits_is_a_picture(tmp_path):
    Image.fromarray((np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64)).save(tmp_path / "grey.png")
    bpy.ops.teamwork.decompose_image(filepath=str(tmp_path / "grey.png"), model="tiny")
    assert tuple(bpy.data.images["grey albedo"].size) == (64, 64)


def test_a_model_that_is_not_there_is_named_with_those_that_are(photo):
    sentence = refused(bpy.ops.teamwork.material_from_image, filepath=str(photo), model="giant")
    assert "'giant'" in sentence and "tiny" in sentence


def test_a_scene_without_a_camera_says_so():
    assert "no camera" in refused(bpy.ops.teamwork.neural_render, model="tiny")


def test_a_job_that_takes_too_long_is_given_up(photo):
    from blender_addon import jobs

    job = running_job()
    sentence = refused(bpy.ops.teamwork.material_from_image, filepath=str(photo), model="tiny", timeout=1.0)
    assert "within 1 s" in sentence and not bpy.data.materials
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
    from functools import partial

    from blender_addon import images, jobs, landing

    land = partial(landing.land_material, name="wall", source="wall.png", target=landing.Target.of(apply_to))
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
    assert "KeyError" in job.line


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
    assert bpy.ops.teamwork.test_engine() == {"FINISHED"} and LINK.state().startswith("Ready: cpu")


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
    engine = subprocess.Popen([sys.executable, "-c", OTHER_PROTOCOL, "serve", "--address", "127.0.0.1:0"], cwd=ROOT)
    try:
        from blender_addon import launcher

        deadline = time.monotonic() + 30.0
        while launcher.find_engine() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        for operator in (bpy.ops.teamwork.decompose_image, bpy.ops.teamwork.material_from_image):
            assert "version" in refused(operator, filepath=str(photo))
        assert "version" in refused(bpy.ops.teamwork.test_engine)
    finally:
        bpy.ops.teamwork.disconnect()
        engine.terminate()
        engine.wait(10)


def test_unregistering_in_the_middle_of_a_job_ends_it_and_the_engine():
    from blender_addon import launcher

    running_job()
    blender_addon.unregister()
    assert launcher.find_engine() is None
    blender_addon.register()
    assert bpy.ops.teamwork.test_engine() == {"FINISHED"}
