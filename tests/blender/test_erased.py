# SPDX-License-Identifier: GPL-3.0-or-later
"""Inpainting what is erased in a picture: its own alpha is the mask, and the result has no hole any more."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from blender_addon import images, masks
from blender_addon.material_maps import maps_of
from blender_addon.materials import build
from tests.blender.operating import addon, empty, models  # noqa: F401 (fixtures)
from tests.blender.test_creation import image_of, noise, outside, stored


def with_a_hole(name: str = "wall", **settings) -> bpy.types.Image:
    """A picture of which a part is erased, and nothing else."""
    values = noise()
    values[4:14, 4:14, 3] = 0.0
    return image_of(name, values, **settings)


@pytest.mark.parametrize("deep", [False, True])
def test_what_is_erased_in_the_picture_is_the_mask(deep):
    picture = with_a_hole(space="Linear Rec.709" if deep else "sRGB", deep=deep)
    before = stored(picture)
    bpy.ops.teamwork.inpaint(image="wall", model="maker")
    after = stored(bpy.data.images["wall inpainted"])
    assert np.array_equal(after[outside()], before[outside()])
    assert not np.allclose(after[5:13, 5:13, :3], before[5:13, 5:13, :3], atol=0.02) and (after[..., 3] == 1.0).all()
    assert np.array_equal(stored(picture), before), "the original is as it was"


def test_where_an_image_is_the_mask_the_picture_stays_as_transparent_as_it_is():
    before = stored(with_a_hole())
    bpy.ops.teamwork.inpaint(image="wall", mask=with_a_hole("holes").name, model="maker")
    after = stored(bpy.data.images["wall inpainted"])
    assert np.array_equal(after[..., 3], before[..., 3]) and not np.allclose(after[5:13, 5:13, :3], before[5:13, 5:13, :3], atol=0.02)


def test_of_a_material_the_map_is_opaque_whose_alpha_was_the_mask():
    build("Wall", {"albedo": with_a_hole("colour"), "roughness": image_of("rough", noise(0.5), "Non-Color")})
    bpy.ops.teamwork.inpaint(material="Wall", model="tiny")
    bpy.ops.teamwork.regenerate(job=bpy.data.materials["Wall inpainted"]["teamwork_job"])
    for name in ("Wall inpainted", "Wall inpainted.001"):
        made = maps_of(bpy.data.materials[name])
        assert (stored(made["albedo"])[..., 3] == 1.0).all() and np.allclose(stored(made["roughness"])[..., 3], 0.5, atol=0.01)


@pytest.mark.parametrize(("space", "channel"), [("Linear Rec.709", "image"), ("Non-Color", "roughness")])
def test_what_is_half_erased_in_floats_leaves_no_dark_edge(space, channel):
    """Blender's eraser multiplies floats with what is left of alpha, data too."""
    side, colour = 128, np.float32([0.5, 0.3, 0.2] if channel == "image" else [0.6, 0.6, 0.6])
    away = np.hypot(*(np.mgrid[0:side, 0:side] - side / 2.0))
    values = np.ones((side, side, 4), np.float32)
    values[..., :3] = colour
    image_of("wall", values * np.clip((away - 12.0) / 16.0, 0.0, 1.0)[..., None], space, deep=True)["teamwork_channel"] = channel
    bpy.ops.teamwork.inpaint(image="wall", model="nano")
    after = stored(bpy.data.images["wall inpainted"])
    assert np.allclose(after[..., :3], colour, atol=0.02) and (after[..., 3] == 1.0).all()


def test_floats_are_multiplied_with_the_alpha_that_stays():
    alpha = np.random.default_rng(0).uniform(0.3, 1.0, (128, 128, 1)).astype(np.float32)
    values = np.concatenate([np.float32([0.5, 0.3, 0.2]) * alpha, alpha], -1)
    before = stored(image_of("glass", values, "Linear Rec.709", deep=True))
    mask = np.zeros_like(values)
    mask[48:80, 48:80] = 1.0
    bpy.ops.teamwork.inpaint(image="glass", mask=image_of("spot", mask).name, mask_from="OPAQUE", model="nano")
    assert np.allclose(stored(bpy.data.images["glass inpainted"]), before, atol=0.02)


def test_the_residual_of_a_decomposition_is_light_like_a_picture_s():
    bpy.ops.teamwork.decompose_image(image=image_of("wall", noise()).name, model="tiny")
    before = stored(bpy.data.images["wall residual"])
    bpy.ops.teamwork.inpaint(image="wall residual", mask=with_a_hole("holes").name, model="maker")
    made = bpy.data.images["wall residual inpainted"]
    after = stored(made)
    assert np.array_equal(after[outside()], before[outside()]) and not np.allclose(after[5:13, 5:13, :3], before[5:13, 5:13, :3], atol=0.02)
    assert made.is_float and made.colorspace_settings.name == "Linear Rec.709"


def test_a_height_map_alone_is_one_sentence_with_the_way_out():
    image_of("relief", noise())["teamwork_channel"] = "height"
    with pytest.raises(RuntimeError, match="relief is a height map, .* inpaint its material instead"):
        bpy.ops.teamwork.inpaint(image="relief", mask=with_a_hole("holes").name, model="maker")


def test_a_material_does_not_see_what_lies_under_the_transparent_part_of_its_photo():
    values, made = noise(), {}
    values[..., 3] = 1.0
    values[:4, :, 3] = values[:, 16:, 3] = 0.0
    for name, beneath in (("black", 0.0), ("white", 1.0)):
        values[values[..., 3] == 0.0, :3] = beneath
        photo = image_of(name, values)
        assert masks.with_opacity(photo).data.shape == (*values.shape[:2], 4) and images.read(photo).shape[2] == 3
        bpy.ops.teamwork.material_from_image(image=name, model="tiny", channels={"albedo", "roughness"})
        made[name] = maps_of(bpy.data.materials[name])
    assert all(np.array_equal(stored(made["black"][channel]), stored(made["white"][channel])) for channel in ("albedo", "roughness"))
    photo.alpha_mode = "CHANNEL_PACKED"
    assert masks.with_opacity(photo).data.shape[2] == 3, "its alpha is another map"


def test_light_in_floats_comes_without_alpha_in_it():
    alpha = np.random.default_rng(0).uniform(0.3, 1.0, (16, 24, 1)).astype(np.float32)
    values = np.concatenate([np.float32([0.5, 0.3, 0.2]) * alpha, alpha], -1)
    seen = masks.with_opacity(image_of("glass", values, "Linear Rec.709", deep=True)).data
    assert np.allclose(seen[..., :3], (0.5, 0.3, 0.2), atol=1e-3) and np.allclose(seen[..., 3:], alpha, atol=1e-3)
