# SPDX-License-Identifier: GPL-3.0-or-later
"""Material from Photo with all its settings: given maps, tiles, the flash, candidates, files, assets, and made again."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

from blender_addon import candidates, images, jobs, materials, swatch
from tests.blender.operating import (  # noqa: F401 (fixtures)
    addon,
    cube,
    drain_until,
    empty,
    made_by,
    models,
    opened,
    photo,
    refused,
    sent_by,
)

MAKE = bpy.ops.teamwork


def settings_of(material: bpy.types.Material) -> dict:
    """The record of how it was made."""
    return json.loads(material["teamwork_settings"])


# ---- given maps ------------------------------------------------------------------------------------------------------


def test_given_images_go_into_the_material_as_they_are(photo, tmp_path):  # noqa: F811
    paint = opened(tmp_path, "paint.png", np.full((16, 24, 3), 128, np.uint8))
    rough = images.create("mine", np.full((16, 24, 1), 0.3, np.float32), "roughness")
    material = made_by(filepath=str(photo), given_albedo=paint, given_roughness=rough.name)
    maps = materials.maps_of(material)
    assert maps["albedo"] == bpy.data.images[paint] and maps["roughness"] == rough
    assert "teamwork_job" not in rough and settings_of(material)["given_albedo"] == paint
    assert {name for name in maps if "teamwork_job" in maps[name]} == {"metalness", "normals", "height"}


def test_a_normal_map_that_blender_took_for_colour_is_read_and_shown_as_data(photo, tmp_path):  # noqa: F811
    name = opened(tmp_path, "bump.png", np.full((16, 24, 3), (188, 128, 230), np.uint8))
    material = made_by(filepath=str(photo), given_normals=name, channels={"normals", "height"})
    image = materials.maps_of(material)["normals"]
    assert image != bpy.data.images[name] and bpy.data.images[name].colorspace_settings.name == "sRGB"
    assert image.colorspace_settings.name == "Non-Color"
    assert np.allclose(images.read(image)[0, 0], np.float32([188, 128, 230]) / 255, atol=1e-3)


def test_a_mesh_without_a_uv_map_is_told_of(photo, cube):  # noqa: F811
    made_by(filepath=str(photo), apply=True)
    assert jobs.JOBS[-1].line.endswith("on Cube")
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    made_by(filepath=str(photo), apply=True)
    assert jobs.JOBS[-1].line.endswith("on Cube, which has no UV map: unwrap it to see the maps")


def test_maps_alone_are_enough(tmp_path):
    paint = opened(tmp_path, "paint.png", np.full((8, 8, 3), 128, np.uint8))
    material = made_by(given_albedo=paint, channels={"roughness", "albedo"})
    assert material.name == "paint" and set(materials.maps_of(material)) == {"albedo", "roughness"}


def test_a_given_height_map_makes_the_normals(photo, tmp_path):  # noqa: F811
    ramp = np.broadcast_to(np.linspace(0, 255, 24).astype(np.uint8)[None, :], (16, 24))
    name = opened(tmp_path, "ramp.png", np.ascontiguousarray(ramp))
    bpy.data.images[name].colorspace_settings.name = "Non-Color"
    material = made_by(filepath=str(photo), given_height=name, height_scale=0.5, picture_width=2.0, relief="BUMP")
    normals = images.read(materials.maps_of(material)["normals"])[8, 12] * 2 - 1
    assert -normals[0] / normals[2] == pytest.approx(0.5 * 24 / 23, rel=0.05)
    group = next(node for node in material.node_tree.nodes if node.type == "GROUP")
    assert group.inputs["Relief Depth"].default_value == pytest.approx(1.0)
    assert materials.maps_of(material)["height"] == bpy.data.images[name]


def test_a_relief_is_as_deep_after_it_was_cut_to_a_tile(tmp_path):
    rows, columns = np.mgrid[0:96, 0:96] * (2 * np.pi / 12)
    waves = np.uint8(127.5 + 127.5 * np.sin(rows) * np.sin(columns))
    settings = {"given_height": opened(tmp_path, "waves.png", waves), "height_scale": 0.1, "picture_width": 2.0, "seamless": "MAKE"}
    material = made_by(given_albedo=opened(tmp_path, "paint.png", waves), channels={"roughness"}, relief="BUMP", **settings)
    group = next(node for node in material.node_tree.nodes if node.type == "GROUP")
    assert materials.maps_of(material)["height"].size[0] < 96
    assert group.inputs["Relief Depth"].default_value == pytest.approx(0.2)


def test_what_cannot_be_given_is_one_sentence(photo, tmp_path):  # noqa: F811
    square = opened(tmp_path, "square.png", np.full((9, 9, 3), 128, np.uint8))
    ask = {"filepath": str(photo), "model": "tiny"}
    assert "proportions" in refused(MAKE.material_from_image, given_albedo=square, **ask)
    assert "no image named 'gone'" in refused(MAKE.material_from_image, given_albedo="gone", **ask)
    assert "are given" in refused(MAKE.material_from_image, given_albedo=square, channels={"albedo"}, **ask)
    assert "at least one" in refused(MAKE.material_from_image, channels=set(), **ask)
    assert "none of them was given" in refused(MAKE.material_from_image, given_roughness=square, model="few", channels={"normals"})


def test_a_given_image_that_goes_away_leaves_the_others(photo, tmp_path, monkeypatch):  # noqa: F811
    name = opened(tmp_path, "paint.png", np.full((16, 24, 3), 128, np.uint8))
    sent = sent_by(monkeypatch, filepath=str(photo), given_albedo=name)
    bpy.data.images.remove(bpy.data.images[name])
    drain_until(lambda: sent[0].state == jobs.DONE, 120.0)
    assert "the given albedo image is gone" in sent[0].line
    assert set(materials.maps_of(bpy.data.materials["wall"])) == {"roughness", "metalness", "normals", "height"}


# ---- tiles and the flash ---------------------------------------------------------------------------------------------


def test_a_seamless_material_has_smaller_maps_that_all_tile_with_what_was_given(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "large.png").touch()
    Image.fromarray(random.integers(0, 256, (48, 60, 3), np.uint8)).save(tmp_path / "large.png")
    paint = opened(tmp_path, "paint.png", random.integers(0, 256, (48, 60, 3), np.uint8))
    material = made_by(filepath=str(tmp_path / "large.png"), given_albedo=paint, seamless="MAKE")
    maps = materials.maps_of(material)
    [size] = {tuple(image.size) for image in maps.values()}
    assert 40 <= size[0] <= 53 and 32 <= size[1] <= 42 and maps["albedo"] != bpy.data.images[paint]
    kept = made_by(filepath=str(tmp_path / "large.png"), given_albedo=paint, seamless="KEEP")
    assert {tuple(image.size) for image in materials.maps_of(kept).values()} == {(60, 48)}


def test_the_flash_reaches_a_team_that_looks_at_it(photo):  # noqa: F811
    flash = {"filepath": str(photo), "model": "flash", "channels": {"albedo"}}
    a, b = (images.read(materials.maps_of(made_by(**flash, **more))["albedo"]) for more in ({}, {"capture": "FLASH"}))
    assert not np.array_equal(a, b)
    _, line = made_by(filepath=str(photo), capture="FLASH"), jobs.JOBS[-1].line
    assert "the flash makes no difference to this model" in line


# ---- candidates ------------------------------------------------------------------------------------------------------


def test_of_several_candidates_one_is_chosen_and_the_others_go(photo, cube):  # noqa: F811
    MAKE.material_from_image(filepath=str(photo), model="tiny", candidates=3, seed=5, apply=True)
    first = cube.active_material
    found = candidates.siblings(first)
    assert [each["teamwork_seed"] for each in found] == [5, 6, 7] and found[0] == first
    maps = [images.read(materials.maps_of(each)["albedo"]) for each in found]
    assert not np.array_equal(maps[0], maps[1]) and not np.array_equal(maps[1], maps[2])
    MAKE.choose_candidate(material=found[2].name)
    assert cube.active_material == found[2] and len(candidates.siblings(first)) == 3
    assert all(each.use_fake_user for each in found), "saved, too"
    unwanted = [image.name for each in found[:2] for image in materials.maps_of(each).values()]
    names = [each.name for each in found[:2]]
    MAKE.keep_candidate(material=found[2].name)
    assert not set(names) & set(bpy.data.materials.keys()) and not set(unwanted) & set(bpy.data.images.keys())
    assert cube.active_material == found[2] and len(materials.maps_of(found[2])) == 5
    assert len([tree for tree in bpy.data.node_groups]) == 1
    assert "no material named 'gone'" in refused(MAKE.choose_candidate, material="gone")


def test_candidates_on_nothing_go_on_the_active_object(photo, cube):  # noqa: F811
    MAKE.material_from_image(filepath=str(photo), model="tiny", candidates=2, channels={"albedo"})
    assert cube.active_material is None
    MAKE.choose_candidate(material="wall.001")
    assert cube.active_material == bpy.data.materials["wall.001"]


def test_making_again_gives_one_more_candidate_with_the_same_settings(photo, tmp_path):  # noqa: F811
    paint = opened(tmp_path, "paint.png", np.full((16, 24, 3), 128, np.uint8))
    wanted = {"capture": "FLASH", "fov": 1.0, "seamless": "KEEP", "relief": "BUMP", "texture_scale": 3.0, "given_albedo": paint}
    first = made_by(filepath=str(photo), **wanted)
    known = set(bpy.data.materials)
    MAKE.regenerate(job=first["teamwork_job"])
    [second] = set(bpy.data.materials) - known
    again, before = settings_of(second), settings_of(first)
    assert again.pop("seed") == before.pop("seed") + 1
    assert again.pop("group") == first["teamwork_job"] and before.pop("group") == ""
    assert again == before and all(before[name] == value for name, value in wanted.items())
    assert candidates.siblings(first) == [first, second]
    group = next(node for node in second.node_tree.nodes if node.type == "GROUP")
    assert group.inputs["Scale"].default_value == 3.0 and materials.maps_of(second)["albedo"] == bpy.data.images[paint]


def test_making_again_takes_a_seed_that_no_candidate_has(photo):  # noqa: F811
    MAKE.material_from_image(filepath=str(photo), model="tiny", candidates=3, channels={"albedo"})
    for _ in range(2):
        MAKE.regenerate(job=bpy.data.materials["wall"]["teamwork_job"])
    assert [each["teamwork_seed"] for each in candidates.siblings(bpy.data.materials["wall"])] == [0, 1, 2, 3, 4]


def test_making_again_puts_it_only_where_the_result_or_a_candidate_is(photo, cube):  # noqa: F811
    first = made_by(filepath=str(photo), channels={"albedo"}, apply=True)
    own = bpy.data.materials.new("Own")
    bpy.ops.mesh.primitive_plane_add()
    other = bpy.context.object
    other.data.materials.append(own)
    MAKE.regenerate(job=first["teamwork_job"])
    second = bpy.data.materials["wall.001"]
    assert [slot.material for slot in other.material_slots] == [own] and cube.active_material == first and second.use_fake_user
    bpy.context.view_layer.objects.active = cube
    MAKE.regenerate(job=first["teamwork_job"])
    third = cube.active_material
    assert third not in (first, second) and settings_of(third)["apply"]
    MAKE.regenerate(job=first["teamwork_job"])
    assert cube.active_material not in (first, second, third), "a candidate was there"
    bpy.context.view_layer.objects.active = None
    assert MAKE.regenerate(job=first["teamwork_job"]) == {"FINISHED"}


# ---- files and assets ------------------------------------------------------------------------------------------------


def test_maps_are_saved_where_the_user_says_in_sixteen_bits(photo, tmp_path):  # noqa: F811
    folder = tmp_path / "maps"
    first = made_by(filepath=str(photo), folder=str(folder), material_name="Ziegel 壁")
    second = made_by(filepath=str(photo), folder=str(folder), material_name="Ziegel 壁")
    files = sorted(path.name for path in folder.iterdir())
    assert len(files) == 10 and "Ziegel 壁 height.png" in files, "nothing was written over"
    for material in (first, second):
        for channel, image in materials.maps_of(material).items():
            path = Path(bpy.path.abspath(image.filepath))
            assert path.parent == folder and not image.packed_file and tuple(image.size) == (24, 16)
            assert path.read_bytes()[24] == (16 if channel in ("normals", "height") else 8)
            assert image.colorspace_settings.name == ("sRGB" if channel == "albedo" else "Non-Color")
            assert image["teamwork_job"] == material["teamwork_job"]
    assert len({image.filepath for m in (first, second) for image in materials.maps_of(m).values()}) == 10


def test_a_folder_that_cannot_be_used_is_told_before_anything_is_made(photo, tmp_path):  # noqa: F811
    (tmp_path / "file").touch()
    assert "save that first" in refused(MAKE.material_from_image, filepath=str(photo), folder="//maps")
    assert "cannot be made" in refused(MAKE.material_from_image, filepath=str(photo), folder=str(tmp_path / "file" / "x"))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "here.blend"))
    material = made_by(filepath=str(photo), folder="//maps")
    assert {image.filepath[:7] for image in materials.maps_of(material).values()} == {"//maps/"}


def test_a_folder_that_goes_away_costs_no_map(photo, tmp_path, monkeypatch):  # noqa: F811
    sent = sent_by(monkeypatch, filepath=str(photo), folder=str(tmp_path / "maps"))
    (tmp_path / "maps").rmdir()
    (tmp_path / "maps").touch()
    drain_until(lambda: sent[0].state == jobs.DONE, 120.0)
    assert "packed into the .blend file" in sent[0].line
    assert all(image.packed_file for image in materials.maps_of(bpy.data.materials["wall"]).values())


def test_an_asset_has_a_picture_of_the_material(photo):  # noqa: F811
    plain, asset = made_by(filepath=str(photo)), made_by(filepath=str(photo), asset=True)
    assert plain.asset_data is None and asset.asset_data.description and asset.asset_data.tags["Teamwork"]
    assert tuple(asset.preview.image_size) == (swatch.SIDE, swatch.SIDE)
    pixels = np.empty(swatch.SIDE**2 * 4, np.float32)
    asset.preview.image_pixels_float.foreach_get(pixels)
    pixels = pixels.reshape(swatch.SIDE, swatch.SIDE, 4)
    assert pixels[0, 0, 3] == 0.0 and pixels[128, 128, 3] == 1.0 and pixels[128, 128, :3].std() > 0


def test_the_ball_shows_colour_shine_and_relief():
    def grey(**maps):
        return swatch.ball({name: np.float32([[value]]) for name, value in maps.items()}, 64)[..., :3]

    red = grey(albedo=(0.8, 0.05, 0.05))
    assert red[32, 32, 0] > 2 * red[32, 32, 2] and np.isfinite(red).all()
    dark = {"albedo": (0.02, 0.02, 0.02)}
    assert grey(**dark, roughness=(0.2,)).max() > grey(**dark, roughness=(0.9,)).max() + 0.1
    left, right = (grey(normals=(x, 0.0, 0.8))[32, 32].mean() for x in (-0.6, 0.6))
    assert left > right + 0.1, "the light comes from the left"


def test_loading_a_file_and_undo_amid_candidates_harm_nothing(photo, monkeypatch):  # noqa: F811
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.ed.undo_push(message="cube")
    sent = sent_by(monkeypatch, filepath=str(photo), candidates=3, channels={"albedo"})
    bpy.ops.ed.undo()
    assert "Cube" not in bpy.data.objects
    drain_until(lambda: sent[0].state == jobs.DONE, 120.0)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    drain_until(lambda: all(job.state == jobs.DONE for job in sent))
    assert len([each for each in bpy.data.materials if "teamwork_job" in each]) == 2
    MAKE.keep_candidate(material=bpy.data.materials[0].name)
    assert len(bpy.data.materials) == 1


def test_the_ball_has_the_given_maps(photo, tmp_path):  # noqa: F811
    blue = opened(tmp_path, "blue.png", np.full((16, 24, 3), (10, 20, 230), np.uint8))
    made = made_by(filepath=str(photo), given_albedo=blue, channels={"normals"})
    pixels = np.empty(swatch.SIDE**2 * 4, np.float32)
    made.preview.image_pixels_float.foreach_get(pixels)
    red, green, shown = pixels.reshape(swatch.SIDE, swatch.SIDE, 4)[..., :3].reshape(-1, 3).mean(0)
    assert shown > 1.5 * max(red, green)
