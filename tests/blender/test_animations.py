# SPDX-License-Identifier: GPL-3.0-or-later
"""Animations whose neural passes take their share of the frame before, along Cycles' own motion vectors."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from blender_addon import capture, images, motion, previous_frame
from tests.blender.conftest import add, compositor, file_format, looking_down, plane, principled, snapshot
from tests.blender.operating import addon, empty, models, refused  # noqa: F401 (fixtures)
from tests.blender.rendering import ENGINE, neural, passes_of, turn_on, write

PIXELS = 10
"""In a unit of length, in the scene below."""


@pytest.fixture
def scene():
    """A lit plane of 32 x 24 pixels that moves two pixels to the right and one up a frame, seen from straight above."""
    made = bpy.context.scene
    render, made.cycles.samples, made.cycles.use_denoising = made.render, 2, False
    render.engine, render.threads_mode, render.threads = ENGINE, "FIXED", 1
    render.resolution_x, render.resolution_y, render.resolution_percentage = 64, 48, 100
    made.frame_end, made.teamwork_render.model = 3, "tiny"
    thing = plane(principled("Paint", Base_Color=(0.3, 0.5, 0.7, 1.0)), size=1.0)
    thing.scale = (3.2, 2.4, 1.0)
    for axis, speed in ((0, 2), (1, 1)):  # drivers are linear in all versions, without a word about keyframes
        thing.driver_add("location", axis).driver.expression = f"(frame - 2) * {speed / PIXELS}"
    camera = looking_down(made)
    camera.data.type, camera.data.ortho_scale = "ORTHO", 64 / PIXELS
    return made


def animate(scene, folder, reuse: float, word: str = "Albedo") -> list[np.ndarray]:
    """One neural pass of each frame."""
    folder.mkdir()
    scene.teamwork_render.reuse = reuse
    return [passes_of(path)[f"ViewLayer.Neural {word}"] for path in write(scene, folder, animation=True)]


def test_cycles_vectors_are_what_we_take_them_for(scene):
    scene.view_layers[0].use_pass_vector, scene.cycles.filter_width = True, 0.01  # no pixel is of two surfaces
    scene.render.engine = "CYCLES"
    scene.frame_set(2)
    vectors = capture.render(scene)["Vector"]
    assert np.allclose(vectors[14:34, 18:46], (-2, -1, -2, -1), atol=1e-3)
    assert motion.unmoved(vectors)[:10].all()
    scene.frame_set(3)
    now = capture.render(scene)
    scene.frame_set(2)
    then = capture.render(scene)
    seen = motion.visible(now["Vector"], then["Vector"])
    assert seen[13:33, 20:48].all(), "the plane"
    assert seen[:8].all() and seen[:, :12].all(), "what it is far from"
    assert not seen[13:35, 16:18].any() and not seen[35, 18:46].any(), "what it has left: nobody knows what was below"


def test_a_frame_takes_its_share_of_the_one_before_where_that_was_moved_to(scene, tmp_path):
    turn_on(scene.view_layers[0], "albedo")
    alone = animate(scene, tmp_path / "alone", 0.0)
    made = animate(scene, tmp_path / "reused", 0.5)
    found = [passes_of(path) for path in sorted((tmp_path / "reused").glob("*.exr"))]
    assert np.array_equal(made[0], alone[0]), "the first has none before"
    for number in (1, 2):
        vectors, earlier = (found[n]["ViewLayer.Vector"] for n in (number, number - 1))
        pictures = [found[n]["ViewLayer.Combined"][..., :3] for n in (number, number - 1)]
        fits = motion.visible(vectors, earlier) * motion.likeness(pictures[0], motion.warped(pictures[1], vectors))
        before = motion.warped(made[number - 1], vectors)
        expected = alone[number] + 0.5 * fits[..., None] * (before - alone[number])
        assert np.allclose(made[number], expected, atol=1e-4) and fits.mean() > 0.5
        assert not np.allclose(made[number], alone[number], atol=1e-3)


def flicker(frames: list[np.ndarray]) -> float:
    """The mean difference of the plane's inner part in the last two frames, which moves by (2, 1) pixels."""
    return float(np.abs(frames[2][14:32, 21:46] - frames[1][15:33, 19:44]).mean())


def test_reuse_makes_animations_steadier(scene, tmp_path):
    turn_on(scene.view_layers[0], "albedo")
    alone, made = animate(scene, tmp_path / "alone", 0.0), animate(scene, tmp_path / "reused", 0.9)
    assert flicker(made) < 0.7 * flicker(alone)


def test_a_still_has_nothing_of_an_earlier_render(scene, tmp_path):
    turn_on(scene.view_layers[0], "albedo", "image")
    alone = animate(scene, tmp_path / "alone", 0.0)
    animate(scene, tmp_path / "reused", 0.9)
    assert not previous_frame._frames, "and the memory is free"
    scene.frame_set(2)
    assert np.array_equal(passes_of(write(scene, tmp_path)[0])["ViewLayer.Neural Albedo"], alone[1])


def test_a_cut_to_another_camera_starts_anew(scene, tmp_path):
    turn_on(scene.view_layers[0], "albedo")
    other = add(scene, "Other", scene.camera.data, (0.4, 0.2, 3.0))
    for number, camera in ((1, scene.camera), (2, other)):
        scene.timeline_markers.new(f"Shot {number}", frame=number).camera = camera
    alone, made = animate(scene, tmp_path / "alone", 0.0), animate(scene, tmp_path / "reused", 0.9)
    assert np.array_equal(made[1], alone[1]) and not np.allclose(made[2], alone[2], atol=1e-3)


def test_frames_left_out_are_not_bridged(scene, tmp_path):
    turn_on(scene.view_layers[0], "albedo")
    scene.frame_step = 2
    alone, made = animate(scene, tmp_path / "alone", 0.0), animate(scene, tmp_path / "reused", 0.9)
    assert len(made) == 2 and np.array_equal(made[1], alone[1])


def test_every_view_layer_has_a_past_of_its_own_and_borders_too(scene, tmp_path):
    for layer in (scene.view_layers[0], scene.view_layers.new("Second")):
        turn_on(layer, "albedo", "normal")
    render = scene.render
    render.use_border, render.use_crop_to_border = True, True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.25, 0.75, 0.0, 1.0
    made = animate(scene, tmp_path / "reused", 0.9)
    last = passes_of(sorted((tmp_path / "reused").glob("*.exr"))[-1])
    assert made[0].shape == (48, 32, 3)
    assert np.allclose(last["Second.Neural Albedo"], last["ViewLayer.Neural Albedo"], atol=1e-5)
    assert np.allclose(np.linalg.norm(last["Second.Neural Normal"], axis=-1), 1.0, atol=1e-3)


@pytest.mark.parametrize("persistent", [False, True])
def test_frames_in_tiles_have_the_passes_of_every_view_layer(scene, tmp_path, persistent):
    """Cycles keeps tiles in files until it has finished the frame; by default it renders so what is larger than 2048 x 2048."""
    for layer in (scene.view_layers[0], scene.view_layers.new("Second")):
        turn_on(layer, "image", "albedo")
    scene.cycles.tile_size, scene.render.use_persistent_data = 16, persistent
    found = {}
    for kind in ("whole", "tiled"):
        scene.cycles.use_auto_tile = kind == "tiled"
        animate(scene, tmp_path / kind, 0.5)
        found[kind] = [passes_of(path) for path in sorted((tmp_path / kind).glob("*.exr"))]
    for whole, tiled in zip(*found.values(), strict=True):
        assert tiled.keys() == whole.keys() and len(neural(tiled)) == 4
        assert all(np.allclose(tiled[name], whole[name], atol=1e-3) and tiled[name].any() for name in neural(tiled))


def test_strips_of_a_sequencer_go_on_from_the_frame_before(scene, tmp_path):
    turn_on(scene.view_layers[0], "albedo")
    tree, end = compositor(scene)
    tree.links.new(tree.nodes.new("CompositorNodeRLayers").outputs["Neural Albedo"], end)
    made = {}
    for reuse in (0.0, 0.9):
        scene.teamwork_render.reuse, edit = reuse, bpy.data.scenes.new("Edit")  # Blender keeps the frames of each sequencer
        edit.render.resolution_x, edit.render.resolution_y, edit.frame_end = 64, 48, 3
        editor = edit.sequence_editor_create()
        (editor.strips if hasattr(editor, "strips") else editor.sequences).new_scene("Shot", scene, 1, 1)
        file_format(edit, "OPEN_EXR")
        edit.render.filepath = str(tmp_path / f"{reuse}_")
        bpy.ops.render.render(animation=True, scene=edit.name)
        made[reuse] = [images.read(images.load(tmp_path / f"{reuse}_000{number}.exr")) for number in (1, 2, 3)]
    assert not previous_frame._frames and flicker(made[0.9]) < 0.7 * flicker(made[0.0])


def test_motion_blur_is_refused_in_words(scene):
    turn_on(scene.view_layers[0], "albedo")
    scene.render.use_motion_blur, scene.teamwork_render.reuse = True, 0.5
    assert "turn motion blur off" in refused(bpy.ops.render.render)
    scene.teamwork_render.reuse = 0.0
    assert bpy.ops.render.render() == {"FINISHED"}


def test_reuse_leaves_the_scene_and_combined_as_they_are(scene, tmp_path):
    turn_on(scene.view_layers[0], "albedo")
    animate(scene, tmp_path / "alone", 0.0)
    scene.frame_set(3)
    before = snapshot(scene)
    animate(scene, tmp_path / "reused", 0.9)
    after = snapshot(scene)
    after["render"]["filepath"] = before["render"]["filepath"]
    assert after == before
    combined = [passes_of(tmp_path / kind / "frame_0002.exr")["ViewLayer.Combined"] for kind in ("alone", "reused")]
    assert np.array_equal(*combined)
