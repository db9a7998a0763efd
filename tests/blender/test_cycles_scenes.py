# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes made and rendered with Cycles: what the passes say, what a sample holds, what is left untouched."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

from blender_addon import motion
from engine_server import channels, colour
from engine_server.train.generate_materials import is_for_validation
from scripts.benchmarks import flicker
from scripts.cycles import generate_scenes, gobos, objects, planes, rendering, scene, shaders, truth

CHANNELS = "image noisy albedo normals depth roughness metalness diffuseshading inverseshading".split()


def hills(size: int = 64) -> np.ndarray:
    """An 8-bit OpenGL normal map of waves along X alone: only red varies."""
    slope = 0.8 * np.cos(np.arange(size) / size * 4.0 * np.pi)
    normals = np.stack([-slope, np.zeros(size), np.ones(size)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.round((np.tile(normals, (size, 1, 1)) * 0.5 + 0.5) * 255.0).astype(np.uint8)


def write_scan(folder: Path, normals: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    Image.fromarray(np.full((*normals.shape[:2], 3), (200, 90, 40), np.uint8)).save(folder / "basecolor.png")
    Image.fromarray(normals).save(folder / "normal.png")
    Image.fromarray(np.full(normals.shape[:2], 153, np.uint8)).save(folder / "roughness.png")
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """Two scans to train with and two held out."""
    root, wanted = tmp_path_factory.mktemp("scans"), {True: 2, False: 2}
    for name in (f"scan{i}" for i in range(100)):
        held = is_for_validation(name, 0.3)
        if wanted[held]:
            wanted[held] -= 1
            write_scan(root / name, hills())
    return root


def recipe(scans: Path, *arguments: str) -> generate_scenes.Recipe:
    line = ["--out", "unused", "--count", "1", "--size", "32", "--samples", "4", "--validation", "0.3"]
    line += ["--materials", str(scans), *arguments]
    return generate_scenes.recipe(generate_scenes.arguments().parse_args(line))


def surface(albedo: float, roughness: float, metalness: float = 0.0):
    """A material of one grey surface that writes its passes."""
    material = bpy.data.materials.new("surface")
    principled = rendering.node_of(rendering.use_nodes(material), "BSDF_PRINCIPLED")
    principled.inputs["Base Color"].default_value = (albedo, albedo, albedo, 1.0)
    principled.inputs["Roughness"].default_value = roughness
    principled.inputs["Metallic"].default_value = metalness
    return shaders.write_passes(material)


@pytest.fixture(scope="module")
def ball() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Passes of a sphere under a white sky, seen from +X, and the camera's rotation."""
    made = rendering.empty_scene()
    objects.paint(objects.sphere(), surface(0.5, 0.6))
    rendering.light_with_colour(made, (1.0, 1.0, 1.0))
    camera = objects.camera((4.0, 0.0, 0.0), (0.0, 0.0, 0.0), 50.0)
    rendering.set_up(made, 48, 48, 16, denoise=False)
    rendering.store_passes(made)
    return rendering.render_passes(made), np.array(camera.matrix_world.to_3x3())


def test_normals_are_the_cameras(ball) -> None:
    passes, rotation = ball
    surface_at = colour.is_foreground(passes["Depth"][..., :1])
    normals = truth.camera_normals(passes["Normal"], rotation, surface_at)
    assert normals[24, 24] == pytest.approx((0.0, 0.0, 1.0), abs=0.08)
    assert normals[24, 38, 0] > 0.6 and normals[24, 10, 0] < -0.6
    assert normals[10, 24, 1] > 0.6 and normals[38, 24, 1] < -0.6
    assert tuple(normals[0, 0]) == (0.0, 0.0, 1.0)


def test_passes_hold_the_material_and_the_distance(ball) -> None:
    passes, _ = ball
    assert passes["albedo"][24, 24, :3] == pytest.approx((0.5,) * 3, abs=1e-3)
    assert passes["roughness"][24, 24, 0] == pytest.approx(0.6, abs=1e-3)
    assert passes["metalness"][24, 24, 0] == 0.0
    assert passes["Depth"][24, 24, 0] == pytest.approx(3.0, abs=0.02)
    assert passes["Depth"][0, 0, 0] >= 1e9
    assert passes["albedo"][0, 0, :3].max() == 0.0


def test_diffuse_light_of_a_white_sky_is_white(ball) -> None:
    light = rendering.diffuse_light(ball[0])
    assert np.mean(light[20:28, 20:28]) == pytest.approx(1.0, abs=0.02)


def test_sample_keeps_the_equations(ball) -> None:
    passes, rotation = ball
    made = truth.sample(passes, passes["Combined"], rotation, np.random.default_rng(0))
    encoded = {name: pixels.astype(np.float32) / 255.0 for name, pixels in made.items()}
    image, albedo = (colour.display_decode(encoded[name]) for name in ("image", "albedo"))
    inverse = colour.inverse_shading(image, albedo)
    assert np.abs(inverse - encoded["inverseshading"])[20:28, 20:28].max() < 0.02
    assert encoded["depth"][0, 0] == 1.0 and encoded["depth"][24, 24] < 0.1
    assert np.array_equal(made["noisy"], made["image"])


def test_metal_has_no_diffuse_light_and_its_albedo_is_its_base_colour() -> None:
    made = rendering.empty_scene()
    objects.paint(objects.sheet(20.0), surface(0.8, 0.3, 1.0))
    rendering.light_with_colour(made, (1.0, 1.0, 1.0))
    objects.camera((0.0, 0.0, 3.0), (0.0, 0.0, 0.0))
    rendering.set_up(made, 16, 16, 4, denoise=False)
    rendering.store_passes(made)
    passes = rendering.render_passes(made)
    assert passes["albedo"][..., :3] == pytest.approx(0.8, abs=1e-3)
    assert passes["metalness"] == pytest.approx(1.0, abs=1e-3)
    assert np.abs(rendering.diffuse_light(passes)).max() == 0.0


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """The same but for rounding: Cycles adds up a panorama's light in no fixed order."""
    return bool(np.abs(one.astype(int) - other).mean() < 0.02)


def test_samples_depend_on_seed_and_number_alone(scans: Path) -> None:
    made = recipe(scans)
    first, again = (generate_scenes.make_sample(made, 5) for _ in range(2))
    assert sorted(first) == sorted(CHANNELS)
    assert all(alike(first[name], again[name]) for name in CHANNELS)
    assert first["image"].shape == (32, 32, 3) and first["depth"].shape == (32, 32)
    other = generate_scenes.make_sample(recipe(scans, "--seed", "1"), 5)
    assert not alike(first["image"], other["image"])


def test_noisy_and_clean_show_the_same_scene(scans: Path) -> None:
    made = generate_scenes.make_sample(recipe(scans, "--samples", "32", "--kinds", "ground"), 2)  # 8 bits cut bright noise off indoors
    noisy, clean = (colour.display_decode(made[name] / np.float32(255.0)) for name in ("noisy", "image"))
    assert not np.array_equal(noisy, clean)
    assert np.mean(noisy) == pytest.approx(np.mean(clean), rel=0.15)


def test_things_before_nothing_have_a_background_of_one_colour(scans: Path) -> None:
    empty, seen = [], 0
    for number in range(4):
        made = generate_scenes.make_sample(recipe(scans, "--kinds", "nothing"), number)
        behind = (made["depth"] == 255) & (made["albedo"].max(-1) == 0)
        empty.append(behind.mean())
        seen += made["albedo"].max() > 0
        shown = made["image"][behind].astype(int)
        assert np.mean(np.abs(shown - np.median(shown, axis=0)).max(-1) <= 8) > 0.9  # the rest lies at edges
        assert np.abs(made["normals"][behind].astype(int) - (128, 128, 255)).max() <= 1
    assert max(empty) > 0.2 and seen == 4


def test_behind_things_before_a_wall_there_is_the_wall(scans: Path) -> None:
    for number in range(4):
        made = generate_scenes.make_sample(recipe(scans, "--kinds", "wall"), number)
        upper = {name: made[name][:4, 8:24].astype(int) for name in CHANNELS}  # what is far behind: the wall's upper part
        assert upper["albedo"].max(-1).min() > 0
        towards = upper["normals"][..., 2].mean() / 127.5 - 1
        assert towards > 0.5  # it faces the camera


@pytest.mark.parametrize("pattern", [gobos._panes, gobos._blind, gobos._leaves])
def test_light_falls_through_what_stands_before_the_sun_and_no_camera_sees_it(pattern, monkeypatch) -> None:
    for name in ("_panes", "_blind", "_leaves"):
        monkeypatch.setattr(gobos, name, pattern)
    made, light = rendering.empty_scene(), []
    objects.paint(objects.sheet(30.0), surface(0.8, 1.0))
    objects.camera((0.0, 0.0, 12.0), (0.0, 0.0, 0.0), 30.0)  # from behind what the light has to pass
    sun = objects.lamp("SUN", (0.5, 0.0, 4.0), 3.0, 0.0)
    rendering.set_up(made, 48, 48, 4, denoise=False)
    rendering.store_passes(made)
    for _ in range(2):
        passes = rendering.render_passes(made)
        light.append(passes["Combined"][..., 0])
        assert np.allclose(passes["albedo"][..., :3], 0.8, atol=1e-3), "the sheet is in the way of the camera"
        gobos.put_before(sun, np.random.default_rng(3)) if len(light) == 1 else None
    plain, broken = light
    lit = broken > 0.5 * plain
    assert 0.01 < lit.mean() < 0.95 and (broken < 0.1 * plain).mean() > 0.03 and plain.std() < 0.05 * plain.mean()


def test_turned_bodies_stand_and_their_normals_look_out() -> None:
    for seed in range(6):
        rendering.empty_scene()
        thing = objects.turned(np.random.default_rng(seed))
        objects.stand(thing, 0.0, 0.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        bpy.context.view_layer.update()
        corners = np.array([thing.matrix_world @ vertex.co for vertex in thing.data.vertices])
        assert corners[:, 2].min() == pytest.approx(0.0, abs=0.1) and np.ptp(corners, axis=0).min() > 0.2
        volume = sum(face.area * face.normal.dot(face.center) for face in thing.data.polygons) / 3.0
        assert volume > 0.0, "its normals look in"


def test_an_interrupted_run_goes_on(scans: Path, tmp_path: Path) -> None:
    made = recipe(scans)
    assert generate_scenes.generate(made, tmp_path, 0, 4) == 4
    assert len(list((tmp_path / "train").iterdir())) == 3
    (lost,) = (tmp_path / "validation").iterdir()
    before = {path.name: np.asarray(Image.open(path)) for path in lost.iterdir()}
    for path in lost.iterdir():
        path.unlink()
    lost.rmdir()
    assert generate_scenes.generate(made, tmp_path, 0, 4) == 1
    assert {path.name for path in lost.iterdir()} == set(before)
    assert all(alike(before[path.name], np.asarray(Image.open(path))) for path in lost.iterdir())


def rendered_normals(folder: Path, turn: float) -> np.ndarray:
    """World normals of a scan on a plane seen from above, 32 x 32 x 3."""
    made = rendering.empty_scene()
    objects.paint(objects.sheet(planes.PLANE), shaders.write_passes(shaders.scan(folder, 1.0, turn)))
    rendering.light_with_colour(made, (1.0, 1.0, 1.0))
    camera = objects.camera((0.0, 0.0, 4.0), (0.0, 0.0, 0.0))
    camera.rotation_euler, camera.data.type, camera.data.ortho_scale = (0.0, 0.0, 0.0), "ORTHO", planes.PLANE
    rendering.set_up(made, 32, 32, 4, denoise=False)
    rendering.store_passes(made)
    return rendering.render_passes(made)["Normal"][..., :3]


def test_relief_turns_with_its_picture(tmp_path: Path) -> None:
    folder = write_scan(tmp_path / "waves", hills())
    upright, turned = rendered_normals(folder, 0.0), rendered_normals(folder, np.pi / 2)
    assert upright[..., 0].std() > 0.3 and upright[..., 1].std() < 0.02
    assert turned[..., 1].std() > 0.3 and turned[..., 0].std() < 0.02
    wanted = np.stack([upright[..., 1], -upright[..., 0], upright[..., 2]], axis=-1)  # a quarter clockwise
    assert np.abs(np.rot90(wanted, -1) - turned)[4:-4, 4:-4].mean() < 0.05


def test_normal_maps_with_green_pointing_down_are_turned_over(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    height = sum(np.cos(2 * np.pi * (fy * y + fx * x) / 64 + p) for fx, fy, p in random.integers(1, 5, (6, 3))
                 for y, x in [np.mgrid[0:64, 0:64]])  # fmt: skip
    up, right = -np.gradient(height, axis=0), np.gradient(height, axis=1)
    normals = channels.normalise(np.stack([-right, -up, np.full_like(up, 2.0)], axis=-1))
    pixels = np.round((normals * 0.5 + 0.5) * 255.0).astype(np.uint8)
    flipped = pixels.copy()
    flipped[..., 1] = 255 - flipped[..., 1]
    same = [rendered_normals(write_scan(tmp_path / n, p), 0.0) for n, p in (("gl", pixels), ("dx", flipped))]
    assert np.abs(same[0] - same[1]).mean() < 0.01


def test_planes_show_held_out_scans_only(scans: Path, tmp_path: Path) -> None:
    made = recipe(scans, "--planes")
    assert generate_scenes.generate_planes(made, tmp_path, 0, 2) == 2
    for folder, light in zip(sorted(tmp_path.iterdir()), ("flash", "env"), strict=True):
        assert is_for_validation(folder.name.split("-")[1], 0.3)
        files = {path.stem for path in folder.iterdir()}
        assert files == {light, "albedo", "normals", "roughness", "metalness"}
        albedo = colour.display_decode(np.asarray(Image.open(folder / "albedo.png")) / 255.0)
        assert albedo.mean((0, 1)) == pytest.approx((0.578, 0.102, 0.021), abs=0.01)
        assert np.asarray(Image.open(folder / "roughness.png")).mean() == pytest.approx(153, abs=1)
    assert generate_scenes.generate_planes(made, tmp_path, 0, 2) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--planes"], "No material is held out"), (["--materials", "nowhere"], "nowhere is not a folder")],
)
def test_mistakes_are_one_sentence(arguments: list[str], words: str, tmp_path: Path, capsys) -> None:
    assert generate_scenes.main(["--out", str(tmp_path / "out"), "--count", "1", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_still_life_needs_no_files_and_keeps_its_settings() -> None:
    made = scene.build_demo_scene(32)
    assert {"Suzanne", "Vase", "Bowl", "Inlaid ball"} <= set(made.objects.keys())
    for thing in (o for o in made.objects if o.type == "MESH"):
        kinds = [node.type for node in thing.active_material.node_tree.nodes]
        assert kinds.count("BSDF_PRINCIPLED") == 1 and "TEX_IMAGE" not in kinds
    made.render.filepath = "/nowhere/else"
    image = scene.render_reference(made, 8)
    assert image.shape == (32, 32, 3) and image.dtype == np.float32
    assert 0.05 < np.median(colour.luminance(image)) < 1.0
    assert (made.cycles.samples, made.cycles.use_denoising) == (4, False)
    assert (made.render.filepath, made.render.image_settings.file_format) == ("/nowhere/else", "PNG")


def test_motion_vectors_lead_back_and_on():
    """A frame's points lie where its vectors say in the frame before, and that one's vectors lead on to them."""
    moving = flicker.scene_of(128, 2)
    moving.render.engine, moving.cycles.samples = "CYCLES", 1
    moving.view_layers[0].use_pass_vector = True
    before, now = (passes["Vector"] for passes in rendering.render_animation(moving))
    assert now.shape == (128, 128, 4) and np.abs(now[..., 0]).mean() > 1.0
    assert motion.visible(now, before).mean() > 0.9
