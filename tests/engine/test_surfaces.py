# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos of surfaces with a tiny real team: maps that are given, tiles, the flash."""

from __future__ import annotations

import numpy as np
import pytest

from blender_addon.wire import ChannelImage
from engine_server import membrane
from engine_server.errors import TaskError
from engine_server.given import limited as given_limited

from .conftest import picture
from .test_tasks import ask, g_buffers, runner  # noqa: F401 (a fixture)


def test_a_given_map_of_another_size_is_handed_back_at_the_size_of_the_photo(runner):  # noqa: F811
    given = ChannelImage(np.full((32, 40, 1), 0.25, np.float32), "data")
    made, info = ask(runner, "material", {"image": picture(16, 20), "roughness": given}, ("roughness", "albedo"))
    assert made["roughness"].data.shape == (16, 20, 1) and np.all(made["roughness"].data == 0.25)
    assert "note" not in info, "this team looks at a given roughness"


def test_given_maps_change_what_is_made(runner):  # noqa: F811
    rough = [ChannelImage(np.full((16, 16, 1), value, np.float32), "data") for value in (0.0, 1.0)]
    a, b, c = (
        ask(runner, "material", {"image": picture(16, 16)} | given, ("albedo",), seed=1)[0]["albedo"].data
        for given in ({}, {"roughness": rough[0]}, {"roughness": rough[1]})
    )
    assert not np.allclose(a, b, atol=1e-4) and not np.allclose(b, c, atol=1e-4)


def test_without_a_photo_other_channels_are_enough(runner):  # noqa: F811
    given = {"albedo": picture(16, 16), "normals": g_buffers(16, 16)["normals"]}
    given["normals"] = ChannelImage(given["normals"].data, "tangent-normal")
    assert set(ask(runner, "material", given, ("roughness",))[0]) == {"roughness"}


def test_normals_follow_from_a_given_height_map(runner):  # noqa: F811
    ramp = np.broadcast_to(np.linspace(0, 1, 16, dtype=np.float32)[None, :, None], (16, 16, 1))
    inputs = {"image": picture(16, 16), "height": ChannelImage(np.ascontiguousarray(ramp), "data")}
    made, info = ask(runner, "material", inputs, ("normals", "height"), height_scale=0.5)
    slope = -made["normals"].data[8, 8, 0] / made["normals"].data[8, 8, 2]
    assert np.isclose(slope, 0.5 * 16 / 15, atol=1e-3) and info["height_scale"] == 0.5
    assert np.array_equal(made["height"].data, ramp) and "note" not in info, "the team looks at the normals"
    both = inputs | {"normals": ChannelImage(made["normals"].data, "tangent-normal")}
    assert "does not look at height" in ask(runner, "material", both, ("albedo",))[1]["note"]


def test_a_given_height_map_is_as_steep_after_it_was_cut(runner):  # noqa: F811
    rows, columns = np.mgrid[0:96, 0:96] * (2 * np.pi / 12)
    waves = (0.5 + 0.5 * np.sin(rows) * np.sin(columns)).astype(np.float32)[..., None]
    inputs = {"albedo": ChannelImage(waves.repeat(3, -1), "scene-linear"), "height": ChannelImage(waves, "data")}

    def steepness(seamless: int) -> tuple[float, float]:
        made, info = ask(runner, "material", inputs, ("normals", "height"), height_scale=0.1, seamless=seamless)
        x, y, z = np.moveaxis(made["normals"].data.astype(float), -1, 0)
        return float(np.sqrt(((x**2 + y**2) / z**2).mean())), info["height_scale"] * made["height"].data.shape[1]

    (whole, relief), (cut, same) = steepness(0), steepness(1)
    assert cut == pytest.approx(whole, rel=0.02) and same == pytest.approx(relief, rel=1e-6) == 9.6


def test_seamless_maps_are_smaller_or_as_large_as_what_tiled_already(runner):  # noqa: F811
    made, info = ask(runner, "material", {"image": picture(60, 48)}, seamless=1)
    size = info["height"], info["width"]
    assert 40 <= size[0] <= 53 and 32 <= size[1] <= 42
    assert all(output.data.shape[:2] == size for output in made.values())
    made, info = ask(runner, "material", {"image": picture(60, 48)}, seamless=2)
    assert (info["height"], info["width"]) == (60, 48) and made["height"].data.shape == (60, 48, 1)
    with pytest.raises(TaskError, match="decompose has no option seamless"):
        ask(runner, "decompose", {"image": picture()}, seamless=1)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (17, 9)], ids=str)
def test_odd_sizes_tile_too(runner, size):  # noqa: F811
    for mode in (1, 2):
        made, _ = ask(runner, "material", {"image": picture(*size)}, seamless=mode)
        assert all(np.isfinite(output.data).all() for output in made.values())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_pixel_without_a_value_spoils_no_other_where_a_picture_is_cut_or_resized(runner, value):  # noqa: F811
    rows, columns = np.mgrid[0:60, 0:48]
    sound = np.repeat((0.4 + 0.1 * np.sin(rows * 0.7) * np.cos(columns * 0.9))[..., None], 3, -1).astype(np.float32)
    spoilt = sound.copy()
    spoilt[30, 24] = value
    sound[30, 24] = 0.0
    for given, options in (({}, {"seamless": 1}), ({"image": picture(30, 24)}, {})):
        one, two = (
            ask(runner, "material", given | {name: ChannelImage(x, "scene-linear")}, ("albedo", "roughness"), **options)[0]
            for x in (sound, spoilt)
            for name in ("albedo" if given else "image",)
        )
        assert all(np.array_equal(one[name].data, two[name].data) for name in one)


def test_a_wide_picture_with_a_pixel_without_a_value_gets_no_streak_from_it(runner):  # noqa: F811
    wide = np.full((6, 4200, 3), 0.4, np.float32)
    wide[2, 20] = np.nan
    image = ChannelImage(wide, "scene-linear")
    assert np.allclose(given_limited({"image": image})["image"].data[:, 40:], 0.4, atol=1e-5)
    made, _ = ask(runner, "decompose", {"image": image}, ("albedo", "metalness", "diffuseshading", "residual"))
    whole = made["albedo"].data * (1 - made["metalness"].data) * made["diffuseshading"].data + made["residual"].data
    assert np.allclose(whole[:, 40:], 0.4, atol=1e-4)


def test_a_depth_keeps_its_background_where_it_is_resized():
    depth = np.full((64, 8192, 1), 3.0, np.float32)
    depth[:32], depth[40, 4000] = np.inf, np.nan
    made = given_limited({"depth": ChannelImage(depth, "data")})["depth"].data
    assert np.isfinite(made).all() and (made[:16] >= 1e9).all() and np.allclose(made[16:, :1900], 3.0, atol=1e-4)


def test_normals_with_alpha_are_resized_too(runner):  # noqa: F811
    normals = np.zeros((16, 20, 4), np.float32) + np.float32([0, 0, 1, 1])
    made, _ = ask(runner, "material", {"image": picture(32, 40), "normals": ChannelImage(normals, "tangent-normal")}, ("normals",))
    assert np.allclose(made["normals"].data, [0, 0, 1])


def test_a_flash_is_seen_by_teams_that_look_at_it(models, runner):  # noqa: F811
    flash = (runner[0], str(models / "flash"))
    made = [ask(flash, "material", {"image": picture(16, 16)}, ("albedo",), fov=fov)[0] for fov in (0.0, 30.0, 90.0)]
    a, b, c = (each["albedo"].data for each in made)
    assert not np.allclose(a, b, atol=1e-4) and not np.allclose(b, c, atol=1e-4)
    assert ask(flash, "material", {"image": picture(50, 50)}, ("albedo",), fov=30.0, seamless=1)[0]
    _, info = ask(runner, "material", {"image": picture()}, ("albedo",), fov=30.0)
    assert info["note"] == "the flash makes no difference to this model"


def test_more_steps_than_a_team_takes_are_not_taken_and_told(runner):  # noqa: F811
    ask(runner, "material", {"image": picture(16, 16)}, ("albedo",), steps=2)
    for team in runner[0].warm.teams:
        team.most_steps = 1
    try:
        _, info = ask(runner, "material", {"image": picture(16, 16)}, ("albedo",), steps=4)
        assert info["steps"] == 1 and info["note"] == "this model takes at most 1 step"
    finally:
        for team in runner[0].warm.teams:
            team.most_steps = 0


@pytest.mark.parametrize("beneath", [0.0, 1.0, np.nan])
def test_what_of_a_photo_can_be_seen_through_is_no_surface(runner, beneath):  # noqa: F811
    """Such as what lies around leaves that were cut out: they are as in a photo that goes on around them."""
    away = np.hypot(*(np.mgrid[0:16, 0:24] - np.array([8, 12])[:, None, None]))
    light, alpha = picture(16, 24).data.copy(), (away < 6).astype(np.float32)
    expected = ask(runner, "material", {"image": ChannelImage(membrane.filled(light, away >= 6), "scene-linear")})[0]
    light[away >= 6] = beneath
    made = ask(runner, "material", {"image": ChannelImage(np.concatenate([light, alpha[..., None]], -1), "scene-linear")})[0]
    assert all(np.allclose(made[name].data, expected[name].data, atol=1e-5) for name in expected)
    faint = ask(runner, "material", {"image": ChannelImage(np.concatenate([light, 0.3 * alpha[..., None]], -1), "scene-linear")})[0]
    assert all(np.isfinite(each.data).all() for each in faint.values())
