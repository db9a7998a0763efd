# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthesize and Inpaint: maps that are given, models that cannot, and the seconds that the panels expect."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from blender_addon import expectation, materials
from blender_addon.creation_panels import expected_inpainting
from blender_addon.engine import LINK
from tests.blender.operating import addon, cube, empty, models, photo, refused  # noqa: F401 (fixtures)
from tests.blender.recording import context, draw
from tests.blender.test_creation import image_of, marked, noise, stored, white_box

SYNTHESIZE, INPAINT, MEND = "TEAMWORK_PT_view3d_synthesize", "TEAMWORK_PT_image_inpaint", "TEAMWORK_PT_view3d_mend"


def shown(panel: str, picture=None):
    """What a panel draws."""
    return draw(panel, context("IMAGE_EDITOR" if "_image_" in panel else "VIEW_3D", "", picture))


# ---- given -----------------------------------------------------------------------------------------------------------


def test_a_material_is_made_to_the_maps_that_are_given(cube):
    colour = image_of("colour", noise())
    bpy.ops.teamwork.synthesize(model="maker", given_albedo="colour", seamless="NONE", apply=True)
    maps = materials.maps_of(cube.active_material)
    assert maps["albedo"] == colour and "albedo" not in marked(), "it goes into the material as it is"
    assert set(maps) == {"albedo", "roughness", "metalness", "normals", "height"}
    assert {tuple(image.size) for image in maps.values()} == {tuple(colour.size)}


def test_what_is_given_makes_a_difference():
    image_of("colour", noise())
    image_of("grey", np.full_like(noise(), 0.5))
    made = []
    for name in ("colour", "grey"):
        bpy.ops.teamwork.synthesize(model="maker", given_albedo=name, seamless="NONE", new_name=name)
        made.append(stored(bpy.data.images[f"{name} normals"]))
    assert not np.array_equal(*made)


def test_given_maps_are_cut_to_a_tile_where_that_is_wanted(cube):
    image_of("colour", noise())
    bpy.ops.teamwork.synthesize(model="maker", given_albedo="colour", seamless="MAKE", apply=True)
    cut = materials.maps_of(cube.active_material)["albedo"]
    assert cut.name != "colour" and cut.size[0] < 32 and cut["teamwork_task"] == "synthesize"
    bpy.ops.teamwork.synthesize(model="maker", given_albedo="colour", seamless="KEEP", apply=True)
    assert materials.maps_of(cube.active_material)["albedo"].name == "colour"


def test_a_picture_is_made_to_a_depth_map_and_it_can_be_made_again():
    image_of("far", noise(), "Non-Color", deep=True)
    bpy.ops.teamwork.synthesize(model="maker", what="IMAGE", given_depth="far")
    first = marked()
    assert {"image", "albedo"} <= set(first) and "depth" not in first
    bpy.ops.teamwork.regenerate(job=first["image"]["teamwork_job"])
    assert marked()["image"].name == f"{first['image'].name}.001" or len(bpy.data.images) == 2 * len(first) + 1


def test_a_height_map_gives_the_normals(cube):
    image_of("bumps", noise(), "Non-Color")
    bpy.ops.teamwork.synthesize(model="maker", given_height="bumps", height_scale=0.2, seamless="NONE", apply=True)
    maps = materials.maps_of(cube.active_material)
    assert maps["height"].name == "bumps" and stored(maps["normals"])[..., :2].std() > 0.05


def test_mistakes_with_given_maps_are_sentences():
    synthesize = bpy.ops.teamwork.synthesize
    assert "no image named 'gone'" in refused(synthesize, model="maker", given_albedo="gone")
    names = {f"given_{channel}": image_of(channel, noise()).name for channel in ("albedo", "roughness", "metalness", "normals", "height")}
    assert "leave one out" in refused(synthesize, model="maker", **names)


# ---- the panels ------------------------------------------------------------------------------------------------------


def test_the_panel_sends_the_maps_and_asks_for_what_they_leave_open():
    bpy.ops.teamwork.test_engine()
    settings = bpy.context.scene.teamwork
    settings.model = "maker"
    settings.model_extent = False
    assert {"width", "height", "tiles"} <= set(shown(SYNTHESIZE).of("prop")) and "seamless" not in shown(SYNTHESIZE).of("prop")
    settings.given_roughness = image_of("rough", noise(), "Non-Color")
    drawn = shown(SYNTHESIZE)
    assert "seamless" in drawn.of("prop") and not {"width", "tiles"} & set(drawn.of("prop"))
    assert "Maps You Have (1)" in drawn.of("label")
    [button] = [each for each in drawn.of("button") if each.bl_rna.identifier == "TEAMWORK_OT_synthesize"]
    assert button.given_roughness == "rough"
    settings.what = "IMAGE"
    assert "given_depth" in shown(SYNTHESIZE).of("prop") and "given_height" not in shown(SYNTHESIZE).of("prop")


@pytest.mark.parametrize(("number", "names"), [("steps", ["steps"]), ("size", ["size"]), ("extent", ["width", "height"])])
def test_a_number_that_is_the_models_choice_is_a_tick(number, names):
    bpy.ops.teamwork.test_engine()
    settings = bpy.context.scene.teamwork
    settings.model = "maker"
    panel = SYNTHESIZE if number == "extent" else f"{SYNTHESIZE}_advanced"
    assert f"model_{number}" in shown(panel).of("prop") and not set(names) & set(shown(panel).of("prop"))
    assert getattr(settings, f"model_{number}")
    setattr(settings, f"model_{number}", False)
    told = LINK.model("maker")
    assert [getattr(settings, name) for name in names] == [told.default_steps if number == "steps" else told.native_size] * len(names)
    assert set(names) <= set(shown(panel).of("prop"))
    setattr(settings, f"model_{number}", True)
    assert not any(getattr(settings, name) for name in names)


def test_a_grey_button_says_what_to_do_first():
    bpy.ops.teamwork.test_engine()
    bpy.context.scene.teamwork.model = "maker"
    told = " ".join(shown(INPAINT).of("label"))
    assert "First open a picture" in told
    assert "First open a picture" not in " ".join(shown(INPAINT, image_of("wall", noise())).of("label"))


def test_a_map_that_the_model_has_no_eyes_for_is_told():
    bpy.ops.teamwork.test_engine()
    settings = bpy.context.scene.teamwork
    settings.model, settings.given_roughness = "few", image_of("rough", noise(), "Non-Color")
    assert "does not look at your Roughness" in " ".join(shown(SYNTHESIZE).of("label"))


@pytest.mark.parametrize(("panel", "fills"), [(SYNTHESIZE, False), (INPAINT, True), (MEND, True)])
def test_a_model_that_cannot_leaves_the_button_grey_and_says_which_can(panel, fills, cube):
    bpy.ops.teamwork.test_engine()
    settings, picture = bpy.context.scene.teamwork, image_of("wall", noise())
    cube.data.materials.append(materials.build("Wall", {"albedo": picture}))
    operators = {"TEAMWORK_OT_synthesize", "TEAMWORK_OT_inpaint"}
    for model, able in (("maker", True), ("regressor", fills)):
        settings.model = model
        drawn = shown(panel, picture)
        enabled = [on for name, on in drawn.of("enabled") if name in operators]
        told = " ".join(drawn.of("label"))
        assert enabled == [able] and ("cannot" in told) != able
    assert fills or ("choose" in told and "maker" in told and not any(text.startswith("About") for text in drawn.of("label")))


def test_the_seconds_of_synthesis_are_known_after_the_first():
    bpy.ops.teamwork.test_engine()
    expectation.timings().forget()
    settings = bpy.context.scene.teamwork
    settings.model = "maker"
    assert "The first run shows how long it takes" in shown(SYNTHESIZE).of("label")
    bpy.ops.teamwork.synthesize(model="maker")
    assert [text for text in shown(SYNTHESIZE).of("label") if text.startswith("About") and text.endswith("for 16 x 16")]
    settings.width, settings.given_albedo = 64, image_of("colour", noise())
    assert [text for text in shown(SYNTHESIZE).of("label") if text.endswith("for 32 x 32")], "the size is that of the map"


def test_the_seconds_of_inpainting_grow_with_the_repeats(cube):
    bpy.ops.teamwork.test_engine()
    expectation.timings().forget()
    settings, picture = bpy.context.scene.teamwork, image_of("wall", noise())
    settings.model = "maker"
    assert "The first run shows how long it takes" in shown(INPAINT, picture).of("label")
    bpy.ops.teamwork.inpaint(image="wall", mask=white_box().name, mask_from="BRIGHT", model="maker")
    assert [text for text in shown(INPAINT, picture).of("label") if text.startswith("About")]
    arguments = ("inpaint", "maker", ("image",))
    once, often = (expectation.seconds(*arguments, {"repeats": repeats}, (512, 512), 2) for repeats in (0, 20))
    assert often > once
    assert expected_inpainting(context(), "inpaint", {}) == ""


def test_no_file_is_read_to_know_how_long_a_material_takes(photo, cube):
    bpy.ops.teamwork.material_from_image(filepath=str(photo), model="tiny", apply=True)
    bpy.context.scene.teamwork.model = "tiny"
    maps = materials.maps_of(cube.active_material)
    drawn = shown(MEND)
    assert f"{cube.active_material.name}: 5 maps" in drawn.of("label")
    assert not any(image.has_data for image in maps.values())


def test_why_a_material_cannot_be_inpainted_is_told(cube):
    bpy.ops.teamwork.test_engine()
    bpy.context.scene.teamwork.model = "maker"
    assert "Choose an object with a material" in shown(MEND).of("label")
    tiles = bpy.data.images.new("tiles", 4, 4, tiled=True)
    tiles.tiles.new(1002)
    for image, words in ((tiles, "tiles has UDIM tiles"), (None, "no image textures in its Principled shader")):
        cube.data.materials.clear()
        cube.data.materials.append(materials.build("Wall", {"albedo": image} if image else {}))
        drawn = shown(MEND)
        assert words in " ".join(drawn.of("label")) and ("TEAMWORK_OT_inpaint", False) in drawn.of("enabled")


def test_a_picture_of_tiles_is_not_replaced_by_one_of_them(cube):
    tiles = bpy.data.images.new("tiles", 32, 32, tiled=True)
    tiles.tiles.new(1002)
    cube.data.materials.append(materials.build("Wall", {"albedo": tiles}))
    users = tiles.users
    asked = {"image": "tiles", "mask": white_box().name, "mask_from": "BRIGHT", "model": "maker", "replace": True}
    assert "open the image file of one tile" in refused(bpy.ops.teamwork.inpaint, **asked)
    assert "open the image file of one tile" in refused(bpy.ops.teamwork.decompose_image, image="tiles", model="tiny")
    assert "open the image file of one tile" in refused(bpy.ops.teamwork.paint_mask, image="tiles")
    assert tiles.users == users > 0
