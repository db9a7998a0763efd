# SPDX-License-Identifier: GPL-3.0-or-later
"""Inpainting what is erased in a picture: its own alpha is the mask, and the result has no hole any more."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

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
