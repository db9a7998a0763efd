# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects a team's run on a tiny real SD3: what it promises about subsets, order, sizes, noise, and clear refusals."""

import numpy as np
import pytest
import torch

from engine_server.diffusion.loading import load_base
from engine_server.diffusion.sampling import Cast, sample
from engine_server.teamwork import RequestError, TeamError, load_team
from engine_server.teamwork.detail import FLOOR, REACH, with_detail
from engine_server.teamwork.inject import adapters
from engine_server.teamwork.pictures import as_picture

from .tiny import TEAMMATES, tiny_adapter


@pytest.fixture(scope="module")
def team(sd3, adapter):
    return load_team(sd3, adapter)


def test_shapes_types_and_ranges(team, photo):
    result = team.run({"image": photo}, "all", steps=2)
    assert set(result) == {"albedo", "normals", "depth"}
    for picture in result.values():
        assert picture.shape == photo.shape and picture.dtype == np.float32
        assert picture.min() >= 0 and picture.max() <= 1 and picture.std() > 0


def test_bytes_grey_and_alpha_are_the_same_picture(team, photo):
    grey = (photo[..., :1] * 255).round().astype(np.uint8)
    forms = [grey, grey[..., 0], grey.repeat(3, -1), np.concatenate([grey.repeat(3, -1), grey], -1), grey / 255.0]
    results = [team.run({"image": form}, ["albedo"], steps=1)["albedo"] for form in forms]
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1e-5)


def test_an_untrained_team_equals_the_bare_base_bit_for_bit(sd3, tmp_path, photo):
    team = load_team(sd3, tiny_adapter(sd3, tmp_path / "zero.safetensors", scale=0.0))
    noise = np.random.default_rng(1).standard_normal((4, 12, 16), np.float32)
    made = team.run({}, ["albedo"], steps=3, noise={"albedo": noise}, width=32, height=24)
    base = load_base(sd3)
    with torch.no_grad():
        rows = torch.from_numpy(noise)[None, None]
        latents = sample(base, Cast((False,)), torch.empty(0), rows, base.conditions(1, 24, 32), 3, None)
        bare = (base.decode(latents[0])[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
    assert np.array_equal(made["albedo"], bare)


def test_a_channel_keeps_its_noise_whatever_else_is_requested(sd3, tmp_path, photo):
    team = load_team(sd3, tiny_adapter(sd3, tmp_path / "apart.safetensors", communication=False))
    alone = team.run({"image": photo}, ["depth"], steps=2, seed=3)["depth"]
    together = team.run({"image": photo}, ["albedo", "depth"], steps=2, seed=3)["depth"]
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_each_image_takes_its_own_noise_or_all_the_same(team, photo):
    own = [{"albedo": rows} for rows in np.random.default_rng(3).standard_normal((2, 4, 12, 16), np.float32)]
    apart = [team.run({"image": photo}, ["albedo"], steps=2, noise=noise)["albedo"] for noise in own]
    stacked, second = np.stack([entry["albedo"] for entry in own]), own[1]["albedo"]
    for noise, expected in ((own[::-1], apart[::-1]), ({"albedo": stacked}, apart), ({"albedo.out": second}, apart[1:] * 2)):
        batch = team.run([{"image": photo}] * 2, ["albedo"], steps=2, noise=noise)
        for made, alone in zip(batch, expected, strict=True):
            np.testing.assert_allclose(made["albedo"], alone, atol=2e-5)
    assert np.abs(apart[0] - apart[1]).max() > 1e-3


def test_teammates_influence_each_other(team, photo):
    one = team.run({"image": photo}, ["albedo"], steps=2)["albedo"]
    assert np.abs(one - team.run({"image": 1 - photo}, ["albedo"], steps=2)["albedo"]).max() > 1e-3
    assert np.abs(one - team.run({"image": photo}, ["albedo", "depth"], steps=2)["albedo"]).max() > 1e-3


def test_order_of_teammates_permutes_rows_and_nothing_else(sd3, adapter, tmp_path, photo):
    from safetensors.torch import load_file, save_file

    order = [3, 0, 4, 2, 1]
    moved = {k: v[order].contiguous() for k, v in load_file(adapter).items()}
    config = load_team(sd3, adapter).config
    from engine_server.teamwork.checkpoint import _metadata
    import dataclasses

    metadata = _metadata(dataclasses.replace(config, teammates=tuple(TEAMMATES[i] for i in order)))
    save_file(moved, tmp_path / "moved.safetensors", metadata=metadata)
    images = {"image": photo, "normals": photo[::-1]}
    a = load_team(sd3, adapter).run(images, ["albedo", "depth"], steps=2)
    b = load_team(sd3, tmp_path / "moved.safetensors").run(images, ["albedo", "depth"], steps=2)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=1e-5)


def test_seeds_repeat_and_differ(team, photo):
    a, b, c = (team.run({"image": photo}, ["albedo"], steps=1, seed=s)["albedo"] for s in (5, 5, 6))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_large_pictures_are_tiled(team):
    """The grid of positions ends at 32 x 32 pixels x 2; beyond, tiles are blended."""
    large = np.random.default_rng(0).random((80, 150, 3), np.float32)
    result = team.run({"image": large}, ["albedo"], steps=2)["albedo"]
    assert result.shape == large.shape and np.isfinite(result).all()


def test_steps_are_reported_with_a_preview_and_can_end_the_run(team, photo):
    seen = []
    team.run({"image": photo}, ["albedo"], steps=3, on_step=lambda n, total, view: seen.append((n, total, view().shape)))
    assert [s[:2] for s in seen] == [(1, 3), (2, 3), (3, 3)] and seen[0][2][-1] == 3

    class Stop(Exception):
        pass

    def stop(done, total, preview):
        raise Stop

    with pytest.raises(Stop):
        team.run({"image": photo}, ["albedo"], steps=50, on_step=stop)
    assert team.roster.active is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (dict(images={"image": np.ones((8, 8, 3))}, request=["gloss"]), "'gloss'; it makes albedo, normals, depth"),
        (dict(images={"gloss": np.ones((8, 8, 3))}), "'gloss'; it takes image, normals"),
        (dict(images={}), "width and height"),
        (dict(images={}, width=10**9, height=64), "1000000000 x 64 pixels"),
        (dict(images={"image": np.ones((8, 8, 3)), "normals": np.ones((8, 9, 3))}), "image 8 x 8, normals 9 x 8"),
        (dict(images=[{"image": np.ones((8, 8, 3))}, {}]), "batch differ"),
        (dict(images=[]), "at least one"),
        (dict(images={"image": np.ones((0, 8, 3))}), "shape"),
        (dict(images={"image": np.ones((8, 8, 5))}), "shape"),
        (dict(images={"image": np.array([["a"]])}), "type"),
        (dict(images={"image": np.ones((8, 8, 3))}, steps=-1), "steps is -1"),
        (dict(images={"image": np.ones((8, 8, 3))}, steps=0), "steps is 0; expected 1 to 1000"),
        (dict(images={"image": np.ones((8, 8, 3))}, request=[]), "No channel"),
        (dict(images={"image": np.ones((8, 8))}, request=["depth"], noise={"depth": np.ones((4, 9, 9))}), "noise for depth"),
        (dict(images=[{"image": np.ones((8, 8))}] * 3, noise=[{}, {}]), "noise of 2 images was given for 3"),
        (dict(images={"image": np.ones((8, 8))}, request=["depth"], noise={"albedo": np.ones((4, 4, 4))}), "not requested"),
    ],
)
def test_a_wrong_request_is_one_sentence(team, call, words):
    with pytest.raises(RequestError, match=r"\w") as error:
        team.run(**call)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_nan_and_infinity_do_no_harm(team, photo):
    spoiled = photo.copy()
    spoiled[0, 0], spoiled[1, 1] = np.nan, np.inf
    assert np.isfinite(team.run({"image": spoiled}, ["albedo"], steps=1)["albedo"]).all()


def test_one_pixel(team):
    assert team.run({"image": np.ones((1, 1, 3))}, ["albedo"], steps=1)["albedo"].shape == (1, 1, 3)


def test_unknown_names_of_bases(tmp_path):
    with pytest.raises(TeamError, match="no bundled team 'nani'"):
        load_team("nani")
    with pytest.raises(TeamError, match="not a diffusers base|no adapter file"):
        load_team(tmp_path, tmp_path / "x.safetensors")


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "meta:x"])
def test_a_device_that_is_not_there_is_one_sentence(sd3, adapter, device):
    with pytest.raises(TeamError, match=f"The device '{device}' is not there .*; cpu always is") as caught:
        load_team(sd3, adapter, device=device)
    assert "\n" not in str(caught.value)


def test_adapters_are_where_the_names_say(team):
    names = {path.split(".", 2)[2] for path in adapters(team.base.network)}
    assert names == {
        "norm1.linear", "attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "ff.net.0.proj", "ff.net.2",
    }


def test_a_zero_start_makes_one_step_independent_of_the_seed(sd3, adapter, photo):
    team = load_team(sd3, adapter)
    team.zero_start = True
    one, other = (team.run({"image": photo}, ["albedo"], steps=1, seed=seed)["albedo"] for seed in (0, 1))
    nothing = {"albedo": np.zeros((4, *(-(-side // 4) * 2 for side in photo.shape[:2])), np.float32)}
    assert np.array_equal(one, other)
    assert np.array_equal(one, load_team(sd3, adapter).run({"image": photo}, ["albedo"], steps=1, noise=nothing)["albedo"])
    two, three = (team.run({"image": photo}, ["albedo"], steps=2, seed=seed)["albedo"] for seed in (0, 1))
    assert not np.array_equal(two, three)


def test_a_team_takes_no_more_steps_than_it_was_trained_for(sd3, adapter, photo):
    team = load_team(sd3, adapter)
    team.most_steps = 2
    assert team.run({"image": photo}, ["albedo"], steps=2)["albedo"].shape == photo.shape
    with pytest.raises(RequestError, match="steps is 3; this team was trained for at most 2"):
        team.run({"image": photo}, ["albedo"], steps=3)


@pytest.mark.parametrize("periodic", [False, True])
def test_detail_is_that_of_a_slow_loop(periodic):
    random = np.random.default_rng(0)
    albedo, photo = (random.random((21, 24, 3), np.float32) for _ in range(2))
    own, seen = (np.log(picture**2.2 + FLOOR) for picture in (albedo, photo))

    def mean(values):
        around = range(-REACH, REACH + 1)
        made = np.empty_like(values)
        for y, x in np.ndindex(21, 24):
            rows, columns = ([n + k for k in around] for n in (y, x))
            rows, columns = (
                [n % side for n in line] if periodic else [n for n in line if 0 <= n < side]
                for line, side in ((rows, 21), (columns, 24))
            )
            made[y, x] = values[np.ix_(rows, columns)].mean((0, 1))
        return made

    lacking = seen - own
    expected = np.clip(np.exp(own + 0.4 * (lacking - mean(mean(lacking)))) - FLOOR, 0, 1) ** (1 / 2.2)
    assert np.allclose(with_detail(albedo, photo, 0.4, periodic), expected, atol=2e-3)
    assert np.allclose(with_detail(albedo, photo, 0.0, periodic), albedo, atol=1e-3)


def test_an_albedo_gets_its_share_of_the_photos_detail(sd3, adapter, photo):
    team = load_team(sd3, adapter)
    plain = team.run({"image": photo}, ["albedo", "normals"], steps=1)
    several = team.run([{"image": photo}] * 2, ["albedo"], steps=1)
    two = team.run({"image": photo}, ["albedo"], steps=2)
    team.detail = 0.5
    made = team.run({"image": photo}, ["albedo", "normals"], steps=1)
    assert np.array_equal(made["normals"], plain["normals"])
    assert np.array_equal(made["albedo"], with_detail(plain["albedo"], as_picture("image", photo), 0.5))
    assert np.array_equal(team.run({"image": photo}, ["albedo"], steps=2)["albedo"], two["albedo"])
    both = zip(team.run([{"image": photo}] * 2, ["albedo"], steps=1), several, strict=True)
    assert all(np.array_equal(a["albedo"], with_detail(b["albedo"], as_picture("image", photo), 0.5)) for a, b in both)


def test_tiles_of_the_native_size_are_what_the_base_sees(sd3, adapter):
    team = load_team(sd3, adapter)
    team.native_size, team.tile = 16, True
    seen = []
    predict = team.base.predict
    team.base.predict = lambda latents, *rest: (seen.append(tuple(latents.shape[-2:])), predict(latents, *rest))[1]
    picture = np.random.default_rng(0).random((40, 24, 3), np.float32)
    assert team.run({"image": picture}, ["albedo"], steps=1)["albedo"].shape == (40, 24, 3)
    assert len(seen) > 2 and set(seen) == {(8, 8)}


def test_turning_there_and_back_changes_nothing():
    from engine_server.teamwork.views import turned

    random = np.random.default_rng(0)
    pictures = {"albedo": random.random((3, 5, 3), np.float32), "normals": random.random((3, 5, 3), np.float32)}
    for quarters in range(4):
        back = turned(turned(pictures, quarters), -quarters)
        assert all(np.allclose(back[name], picture) for name, picture in pictures.items())
    right = np.broadcast_to(np.float32([1.0, 0.5, 0.5]), (2, 4, 3))
    assert np.allclose(turned({"normals": right}, 1)["normals"], [0.5, 1.0, 0.5])  # what faced right faces up


def test_an_answer_is_averaged_over_turns(sd3, adapter, photo):
    team = load_team(sd3, adapter)
    team.zero_start = True
    one = team.run({"image": photo}, ["albedo"], steps=1)["albedo"]
    upside_down = team.run({"image": photo[::-1, ::-1]}, ["albedo"], steps=1)["albedo"][::-1, ::-1]
    team.turns = 2
    both = team.run({"image": photo}, ["albedo"], steps=1)["albedo"]
    np.testing.assert_allclose(both, (one + upside_down) / 2, atol=1e-5)
    assert np.array_equal(team.run([{"image": photo}], ["albedo"], steps=1)[0]["albedo"], one)


def test_shifting_there_and_back_changes_the_border_only():
    from engine_server.teamwork.views import shifted

    picture = np.random.default_rng(0).random((9, 7, 3), np.float32)
    moved = shifted({"albedo": picture}, 2, -1)["albedo"]
    assert np.array_equal(moved[2:, :-1], picture[:-2, 1:]) and np.array_equal(moved[:2, :-1], picture[1::-1, 1:])
    back = shifted({"albedo": moved}, -2, 1)["albedo"]
    assert np.array_equal(back[:-2, 1:], picture[:-2, 1:]) and not np.array_equal(back, picture)


def test_an_answer_is_averaged_over_shifts_and_views_count_as_steps(sd3, adapter, photo):
    from engine_server.teamwork.views import shifted

    team = load_team(sd3, adapter)
    team.zero_start = True
    step = max(team.base.factor // 4, 1)
    apart = [
        shifted(team.run(shifted({"image": photo}, n, n), ["albedo"], steps=1), -n, -n)["albedo"] for n in (-step, step)
    ]
    team.shifts, seen = 2, []
    both = team.run({"image": photo}, ["albedo"], steps=1, on_step=lambda done, total, _: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)] and not np.allclose(*apart)
    np.testing.assert_allclose(both["albedo"], np.mean(apart, axis=0), atol=1e-6)


def test_views_go_round_turns_and_shifts():
    from engine_server.teamwork.views import View, views

    assert views(1, 1, 8) == [View()]
    assert views(2, 4, 8) == [View(0, -2, -2), View(2, 2, 2), View(0, -2, 2), View(2, 2, -2)]
