# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders with neural passes: F12, animations, the compositor and files, with a real engine and a tiny team."""

from __future__ import annotations

import os
import signal
import threading

import bpy
import numpy as np
import pytest

import blender_addon
from blender_addon import capture, neural_passes, passes, render_layer
from blender_addon.wire import Submit
from tests.blender.conftest import compositor, looking_down, plane, principled, snapshot
from tests.blender.operating import addon, empty, models, refused  # noqa: F401 (fixtures)
from tests.blender.rendering import ENGINE, job_states, neural, passes_of, turn_on, write
from tests.engine.conftest import wait_for


@pytest.fixture
def scene():
    """A lit plane below a camera, with the engine and a picture of 64 x 48."""
    made = bpy.context.scene
    render, made.cycles.samples, made.cycles.use_denoising = made.render, 2, False
    render.engine, render.threads_mode, render.threads = ENGINE, "FIXED", 1
    render.resolution_x, render.resolution_y, render.resolution_percentage = 64, 48, 100
    made.teamwork_render.model = "tiny"
    plane(principled("Paint", Base_Color=(0.3, 0.5, 0.7, 1.0)), size=2.0)
    looking_down(made)
    return made


# ---- what is made ----------------------------------------------------------------------------------------------------


def test_a_render_has_the_passes_that_its_view_layer_chose(scene, tmp_path):
    layer = scene.view_layers[0]
    turn_on(layer, *(each.setting.removeprefix("use_") for each in neural_passes.NEURAL))
    found = passes_of(write(scene, tmp_path)[0])
    assert neural(found) == {f"{layer.name}.{each.name}" for each in neural_passes.NEURAL}
    for each in neural_passes.NEURAL:
        values = found[f"{layer.name}.{each.name}"]
        assert values.shape == (48, 64, len(each.components)) and np.isfinite(values).all()
        assert values[..., 0].std() > 1e-4, each.name
    normals = np.linalg.norm(found[f"{layer.name}.Neural Normal"], axis=-1)
    assert np.allclose(normals, 1.0, atol=1e-3)
    for name in ("Albedo", "Roughness", "Metalness", "Depth"):
        values = found[f"{layer.name}.Neural {name}"]
        assert 0.0 <= values.min() and values.max() <= 1.0


def test_combined_is_what_cycles_makes_alone(scene, tmp_path):
    turn_on(scene.view_layers[0], "image")
    (tmp_path / "cycles").mkdir()
    ours = passes_of(write(scene, tmp_path)[0])
    scene.render.engine = "CYCLES"
    alone = passes_of(write(scene, tmp_path / "cycles")[0])
    assert not neural(alone)
    assert np.array_equal(ours["ViewLayer.Combined"], alone["ViewLayer.Combined"])


def test_no_pass_chosen_is_cycles_alone_and_needs_no_engine(scene, tmp_path, monkeypatch):
    bpy.ops.teamwork.disconnect()
    monkeypatch.setenv("TEAMWORK_ENGINE_PYTHON", "/nowhere/python")
    assert set(passes_of(write(scene, tmp_path)[0])) == {"ViewLayer.Combined"}


def test_the_neural_image_is_what_the_engine_makes_of_the_same_channels(scene, tmp_path):
    """The pass holds the right values in the right places: the same job, sent by hand, has the same answer."""
    turn_on(scene.view_layers[0], "image")
    found = passes_of(write(scene, tmp_path)[0])
    arrays = {name.removeprefix("ViewLayer."): values for name, values in found.items()}
    channels = neural_passes.inputs("shade", arrays, scene.camera.matrix_world)
    with render_layer.connect() as client:
        answer = client.run(Submit("by-hand", "shade", "tiny", channels, ("image",), {}))
    made = arrays["Neural Image"]
    assert np.allclose(made[..., :3], answer.outputs["image"].data, atol=1e-4)
    assert np.array_equal(made[..., 3], arrays["Combined"][..., 3])


def test_every_frame_starts_from_the_same_noise(scene, tmp_path):
    turn_on(scene.view_layers[0], "albedo")
    scene.frame_end, scene.teamwork_render.seed = 3, 5
    files = write(scene, tmp_path, animation=True)
    assert [path.name for path in files] == [f"frame_000{n}.exr" for n in (1, 2, 3)]
    frames = [passes_of(path)["ViewLayer.Neural Albedo"] for path in files]
    assert np.array_equal(frames[0], frames[1]) and np.array_equal(frames[1], frames[2])
    scene.teamwork_render.seed = 6
    other = passes_of(write(scene, tmp_path)[0])["ViewLayer.Neural Albedo"]
    assert not np.array_equal(frames[0], other)


def test_each_view_layer_has_its_own_passes(scene, tmp_path):
    turn_on(scene.view_layers[0], "albedo")
    turn_on(scene.view_layers.new("Second"), "depth", "roughness")
    scene.view_layers.new("Third")
    found = passes_of(write(scene, tmp_path)[0])
    assert neural(found) == {"ViewLayer.Neural Albedo", "Second.Neural Depth", "Second.Neural Roughness"}
    assert all(found[name].std() > 0.0 for name in neural(found))


def test_the_compositor_gets_the_passes(scene, tmp_path):
    turn_on(scene.view_layers[0], "albedo")
    tree, end = compositor(scene)
    tree.links.new(tree.nodes.new("CompositorNodeRLayers").outputs["Neural Albedo"], end)
    found = passes_of(write(scene, tmp_path)[0])
    made = next(values for name, values in found.items() if name.endswith("Composite.Combined"))
    assert np.allclose(made[..., :3], found["ViewLayer.Neural Albedo"], atol=1e-3)


@pytest.mark.parametrize(("crop", "size"), [(False, (48, 64)), (True, (24, 32))])
def test_a_border_has_passes_of_its_size(scene, tmp_path, crop, size):
    turn_on(scene.view_layers[0], "image", "depth")
    render = scene.render
    render.use_border, render.use_crop_to_border = True, crop
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.25, 0.75, 0.0, 0.5
    depth = passes_of(write(scene, tmp_path)[0])["ViewLayer.Neural Depth"]
    assert depth.shape[:2] == size and depth[-24:, -32:].std() > 0.0
    assert crop or not depth[:24].any()


def test_a_percentage_has_passes_of_its_size(scene, tmp_path):
    turn_on(scene.view_layers[0], "image", "albedo")
    scene.render.resolution_percentage = 50
    found = passes_of(write(scene, tmp_path)[0])
    assert found["ViewLayer.Neural Albedo"].shape == (24, 32, 3)
    assert found["ViewLayer.Neural Image"].shape == (24, 32, 4)


def test_normals_are_those_of_the_world_whatever_the_camera(scene):
    scene.camera.rotation_euler = (0.4, -0.3, 1.0)
    bpy.context.view_layer.update()
    matrix = scene.camera.matrix_world
    world = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    world /= np.linalg.norm(world, axis=-1, keepdims=True)
    turned = passes.camera_normals(world, matrix)
    normal = next(each for each in neural_passes.NEURAL if each.name == "Neural Normal")
    assert np.allclose(neural_passes.stored(normal, turned, world, matrix), world, atol=1e-5)


@pytest.mark.parametrize("metalness", [0.0, 0.3, 1.0])
def test_the_base_colour_follows_from_diffuse_and_gloss(metalness):
    colour = np.random.default_rng(0).uniform(0.1, 0.9, (6, 7, 3)).astype(np.float32)
    diffuse, glossy = colour * (1 - metalness), colour * metalness + 0.04 * (1 - metalness)
    assert np.allclose(neural_passes.base_colour(diffuse, glossy), colour, atol=0.04 * min(metalness, 0.5) + 0.003)


def test_black_stays_black():
    assert not neural_passes.base_colour(np.zeros((2, 2, 3)), np.full((2, 2, 3), 0.04)).any()


# ---- what cannot be --------------------------------------------------------------------------------------------------


def test_without_an_engine_the_render_ends_with_a_sentence(scene, tmp_path, monkeypatch):
    bpy.ops.teamwork.disconnect()
    monkeypatch.setenv("TEAMWORK_ENGINE_PYTHON", "/nowhere/python")
    turn_on(scene.view_layers[0], "image")
    scene.render.filepath, scene.frame_end = str(tmp_path / "frame_"), 3
    for settings in ({"write_still": True}, {"animation": True}):
        assert "no Python at /nowhere/python" in refused(bpy.ops.render.render, **settings)
    assert not list(tmp_path.iterdir())


def test_without_an_engine_the_render_goes_on_if_the_user_chose_so(scene, tmp_path, monkeypatch, capfd):
    bpy.ops.teamwork.disconnect()
    monkeypatch.setenv("TEAMWORK_ENGINE_PYTHON", "/nowhere/python")
    turn_on(scene.view_layers[0], "albedo")
    scene.teamwork_render.without_engine = "SKIP"
    found = passes_of(write(scene, tmp_path)[0])
    assert found["ViewLayer.Combined"].std() > 0.0 and not found["ViewLayer.Neural Albedo"].any()
    assert "no Python at /nowhere/python" in capfd.readouterr().out


def test_where_cycles_fails_only_its_sentence_is_told(scene, monkeypatch):
    turn_on(scene.view_layers[0], "image", "albedo")
    monkeypatch.setattr("cycles.engine.render", lambda engine, _: engine.report({"ERROR"}, "Cycles cannot denoise"))
    monkeypatch.setattr(render_layer.render_job, "run", None)  # the engine is asked for nothing
    assert refused(bpy.ops.render.render).endswith("Cycles cannot denoise")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda s: setattr(s.render, "use_multiview", True), "Stereoscopy is on"),
        (lambda s: setattr(s.camera.data, "type", "PANO"), "panoramic"),
        (lambda s: setattr(s.render, "resolution_x", 4104), "at most 4096 pixels a side"),
        (lambda s: setattr(s.teamwork_render, "model", "giant"), "no model 'giant'; it has: "),
    ],
)
def test_what_cannot_be_rendered_is_one_sentence_before_cycles_begins(scene, tmp_path, harm, words):
    turn_on(scene.view_layers[0], "image")
    harm(scene)
    scene.render.filepath = str(tmp_path / "frame_")
    assert words in refused(bpy.ops.render.render, write_still=True)
    assert not list(tmp_path.iterdir())


def test_a_job_that_takes_too_long_is_given_up(scene):
    turn_on(scene.view_layers[0], "image")
    scene.teamwork_render.steps, scene.teamwork_render.timeout = 1000, 1.0
    assert "within 1 s" in refused(bpy.ops.render.render)


def test_an_interrupted_script_ends_the_render_and_the_engine_s_job(scene):
    """What Ctrl+C does where Python is the host; Blender's own Escape is asked for in the same place."""

    def interrupt() -> None:
        with render_layer.connect() as client:  # before the job has begun: it takes seconds only
            ready.set()
            wait_for(lambda: "running" in (job.state for job in client.jobs()))
            os.kill(os.getpid(), signal.SIGINT)

    turn_on(scene.view_layers[0], "image")
    bpy.ops.teamwork.test_engine()
    wait_for(lambda: "running" not in job_states())  # one that was given up ends within a step
    scene.teamwork_render.steps = 1000
    ready, thread = threading.Event(), threading.Thread(target=interrupt)
    thread.start()
    ready.wait(30.0)
    assert "interrupted" in refused(bpy.ops.render.render)
    thread.join()
    wait_for(lambda: "running" not in job_states())


@pytest.mark.parametrize("choice", ["STOP", "SKIP"])
def test_an_engine_that_dies_in_the_middle_is_a_sentence(scene, tmp_path, monkeypatch, capfd, choice):
    from blender_addon import engine, launcher

    def kill() -> None:
        with render_layer.connect() as client:
            ready.set()
            wait_for(lambda: "running" in (job.state for job in client.jobs()))
            os.kill(launcher.find_engine().pid, signal.SIGKILL)

    turn_on(scene.view_layers[0], "albedo")
    bpy.ops.teamwork.test_engine()
    monkeypatch.setattr(engine, "engine_settings", lambda: engine.EngineSettings(timeout=2.0))
    wait_for(lambda: "running" not in job_states())
    scene.teamwork_render.steps, scene.teamwork_render.without_engine = 1000, choice
    before, ready = settle(scene), threading.Event()
    thread = threading.Thread(target=kill)
    thread.start()
    ready.wait(30.0)
    if choice == "STOP":
        assert "has not answered" in refused(bpy.ops.render.render) and settle(scene) == before
    else:
        found = passes_of(write(scene, tmp_path)[0])
        assert found["ViewLayer.Combined"].std() > 0.0 and not found["ViewLayer.Neural Albedo"].any()
        assert "has not answered" in capfd.readouterr().out
    thread.join()


# ---- the scene, and Blender ------------------------------------------------------------------------------------------


def settle(scene) -> dict:
    """Everything of the scene that a user would notice if it changed, and the view layers' neural passes."""
    chosen = [[getattr(layer.teamwork, each.setting) for each in neural_passes.NEURAL] for layer in scene.view_layers]
    return snapshot(scene) | {"neural": chosen}


@pytest.mark.parametrize("harm", [lambda s: None, lambda s: setattr(s.teamwork_render, "model", "giant")])
def test_the_scene_is_as_it_was(scene, harm):
    turn_on(scene.view_layers[0], "image", "albedo")
    harm(scene)
    before = settle(scene)
    try:
        bpy.ops.render.render()
    except RuntimeError as error:
        assert "giant" in str(error)
    assert settle(scene) == before


def test_cycles_panels_show_for_the_engine_and_no_longer_when_it_is_gone():
    def shown_for(engine: str) -> set[str]:
        panels = (panel for panel in bpy.types.Panel.__subclasses__() if hasattr(bpy.types, panel.__name__))
        return {panel.__name__ for panel in panels if engine in getattr(panel, "COMPAT_ENGINES", ())}

    everything = shown_for("CYCLES")
    assert {"CYCLES_RENDER_PT_sampling", "CYCLES_RENDER_PT_passes_light", "RENDER_PT_format"} <= everything
    assert everything <= shown_for(ENGINE) and "TEAMWORK_PT_layer_passes" not in everything
    blender_addon.unregister()
    try:
        assert shown_for("CYCLES") == everything and not shown_for(ENGINE)
        with pytest.raises(TypeError):
            bpy.context.scene.render.engine = ENGINE
    finally:
        blender_addon.register()


def test_cycles_and_the_capture_of_operators_still_work_beside_it(scene):
    scene.render.engine = "CYCLES"
    assert bpy.ops.render.render() == {"FINISHED"}
    assert capture.render(scene)["Combined"].shape == (48, 64, 4)
    assert scene.render.engine == "CYCLES"
