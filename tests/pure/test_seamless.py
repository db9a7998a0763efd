# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures made into tiles: where they are cut, what happens at the cut, and how much the borders show."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from blender_addon.wire import ChannelImage
from engine_server import given, seamless
from engine_server.derive import height, normals
from engine_server.channels import normals_encode
from engine_server.errors import TaskError
from engine_server.upsample import resize_bilinear, upsample


def noise(height: int = 60, width: int = 80, seed: int = 0) -> np.ndarray:
    """Smooth random colour with a slope of brightness, so that its borders do not meet."""
    random = np.random.default_rng(seed).random((height // 4, width // 4, 3), np.float32)
    return resize_bilinear(random, height, width) * 0.6 + np.linspace(0, 0.4, width, dtype=np.float32)[None, :, None]


def test_the_cheapest_path_against_all_paths(random=np.random.default_rng(1)):
    cost = random.random((5, 4))
    paths = [p for p in itertools.product(range(4), repeat=5) if max(abs(np.diff(p))) <= 1]
    best = min(paths, key=lambda p: sum(cost[row, column] for row, column in enumerate(p)))
    assert tuple(seamless.cheapest_path(cost)) == best


def test_the_borders_of_a_tile_meet():
    picture = noise()
    made = seamless.tile({"p": picture}, picture)["p"]
    assert seamless.border_ratio(picture) > 5.0 and seamless.border_ratio(made) < 1.5
    assert all(2 / 3 - 0.02 <= a / b <= 7 / 8 + 0.02 for a, b in zip(made.shape[:2], picture.shape[:2], strict=True))


def test_all_channels_are_cut_alike():
    picture = noise()
    made = seamless.tile({"p": picture, "q": picture[..., :1] * 3 - 1}, picture)
    assert np.allclose(made["q"], made["p"][..., :1] * 3 - 1, atol=1e-5)
    assert made["p"].shape[2] == 3 and made["q"].shape[2] == 1


def test_a_pattern_is_cut_at_whole_periods():
    rows, columns = np.mgrid[0:60, 0:90]
    pattern = np.stack([np.sin(columns * 2 * np.pi / 15), np.cos(rows * 2 * np.pi / 12), 0 * rows], -1).astype(np.float32)
    made = seamless.tile({"p": pattern}, pattern)["p"]
    assert made.shape[1] % 15 == 0 and made.shape[0] % 12 == 0
    assert np.allclose(made, pattern[: made.shape[0], : made.shape[1]], atol=0.02)


def test_a_checkered_floor_stays_black_and_white_beside_the_cut():
    """Two layers that meet in a joint, where the cut is cheap, may be out of step around it."""
    rows, columns = np.mgrid[0:322, 0:374]
    floor = np.where(((rows + 19) // 32 + (columns + 3) // 32) % 2 == 0, 0.1, 0.9)
    floor[((rows + 19) % 32 < 1) | ((columns + 3) % 32 < 1)] = 0.5
    floor = (floor + np.random.default_rng(0).normal(0, 0.02, floor.shape)).astype(np.float32)[..., None]
    made = seamless.tile({"p": floor}, floor)["p"]
    off = np.abs(made - np.float32([0.1, 0.5, 0.9])).min(-1)  # from the three tones that there are
    assert np.mean(off > 0.1) < 0.025


def test_a_side_of_few_pixels_stays_whole():
    picture = np.random.default_rng(0).random((4, 60, 3)).astype(np.float32)
    assert seamless.tile({"p": picture}, picture)["p"].shape[0] == 4
    assert seamless.border_ratio(np.ones((1, 1, 3), np.float32)) == 1.0


@pytest.mark.parametrize("sizes", [((8, 12), (24, 36)), ((7, 5), (22, 31))], ids=str)
def test_enlarging_what_tiles_is_enlarging_the_plane_that_it_tiles(sizes):
    (h, w), (height, width) = sizes
    random = np.random.default_rng(2)
    values, guide = random.random((h, w, 2), np.float32), random.random((height, width, 3), np.float32)
    made = upsample(values, guide, periodic=True)
    plane = upsample(np.tile(values, (3, 3, 1)), np.tile(guide, (3, 3, 1)))[height : 2 * height, width : 2 * width]
    assert np.allclose(made, plane, atol=2e-4)
    assert not np.allclose(upsample(values, guide), plane, atol=1e-2)


# ---- what is given ---------------------------------------------------------------------------------------------------


def channel(array: np.ndarray, space: str = "data") -> ChannelImage:
    """A channel of the wire."""
    return ChannelImage(np.ascontiguousarray(array, np.float32), space)


def test_given_maps_come_to_the_size_of_the_photo():
    up = np.broadcast_to(np.float32([0.6, 0.0, 0.8]), (32, 48, 3))
    made = given.at_one_size({"normals": channel(up, "tangent-normal"), "image": channel(noise(16, 24), "scene-linear")})
    assert made["normals"].data.shape == (16, 24, 3) and np.allclose(made["normals"].data, [0.6, 0, 0.8], atol=1e-6)
    with pytest.raises(TaskError, match=r"proportions \(image 24 x 16, height 20 x 20\)"):
        given.at_one_size({"image": channel(noise(16, 24), "scene-linear"), "height": channel(np.zeros((20, 20, 1)))})


def test_a_tile_keeps_each_channel_in_its_range():
    maps = {
        "image": channel(noise() ** 4 * 3, "scene-linear"),
        "normals": channel(noise(seed=1) * 2 - 1, "tangent-normal"),
        "roughness": channel((noise(seed=2)[..., :1] > 0.5)),
    }
    maps["normals"] = channel(given.channels.normalise(maps["normals"].data), "tangent-normal")
    made = given.as_tile(maps)
    assert np.allclose(np.linalg.norm(made["normals"].data, axis=-1), 1.0, atol=1e-4)
    assert made["image"].data.min() >= 0.0 and 0.0 <= made["roughness"].data.min() <= made["roughness"].data.max() <= 1.0
    assert len({image.data.shape[:2] for image in made.values()}) == 1


def test_the_flash_of_a_camera_stands_above_the_middle():
    made = given.with_flash({"image": channel(noise(20, 30), "scene-linear")}, 60.0)["halfway"].data
    assert made.shape == (20, 30, 3) and np.allclose(made[9:11, 14:16].mean((0, 1)), [0, 0, 2], atol=1e-2)
    assert made[10, 0, 0] > 0.5 > -0.5 > made[10, -1, 0], "towards the middle on both sides"


@pytest.mark.parametrize("periodic", [False, True])
def test_normals_of_a_height_map_lead_back_to_it(periodic):
    rows, columns = np.mgrid[0:32, 0:48]
    relief = (0.5 + 0.5 * np.sin(columns * 2 * np.pi / 48) * np.cos(rows * 2 * np.pi / 32))[..., None]
    made = normals(relief, 0.1, periodic)
    assert made.space == "tangent-normal" and np.allclose(np.linalg.norm(made.data, axis=-1), 1.0, atol=1e-5)
    back, scale = height(normals_encode(made.data), periodic)
    assert scale == pytest.approx(0.1, rel=0.05) and np.abs(back.data - relief).max() < 0.05


def test_given_normals_are_not_replaced_by_those_of_a_height_map():
    flat = channel(np.broadcast_to(np.float32([0, 0, 1]), (8, 8, 3)), "tangent-normal")
    both = {"height": channel(np.random.default_rng(0).random((8, 8, 1))), "normals": flat}
    assert given.with_normals(both, 0.1, False)["normals"] is flat
    assert "normals" not in given.with_normals({"image": flat}, 0.1, False)
