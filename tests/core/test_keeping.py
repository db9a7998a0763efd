# SPDX-License-Identifier: GPL-3.0-or-later
"""Known parts stay while the rest is made anew: under every scheduler, and with tiny real teams."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch

from engine_server.diffusion.keeping import Keep, cells, level
from engine_server.teamwork import RequestError, load_team
from engine_server.teamwork.asked import Inpaint

from .tiny import tiny_adapter

FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
SCHEDULERS = {
    "flow": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    "flow heun": diffusers.FlowMatchHeunDiscreteScheduler(),
    "flow dpm++": diffusers.DPMSolverMultistepScheduler(**FLOW),
    "euler": diffusers.EulerDiscreteScheduler(prediction_type="v_prediction"),
    "heun": diffusers.HeunDiscreteScheduler(),
    "dpm++": diffusers.DPMSolverMultistepScheduler(),
    "ddim": diffusers.DDIMScheduler(),
}


@pytest.fixture(scope="module")
def team(sd3, adapter):
    return load_team(sd3, adapter)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_levels_are_those_of_the_scheduler_and_end_without_noise(name):
    scheduler = SCHEDULERS[name]
    scheduler.set_timesteps(5)
    seen = [level(scheduler, i) for i in range(len(scheduler.timesteps) + 1)]
    assert seen[-1] == (1.0, 0.0)
    ratio = [noise / share if share else np.inf for share, noise in seen]
    assert ratio == sorted(ratio, reverse=True) and ratio[0] > 5
    for share, noise in seen[:-1]:
        if name.startswith("flow"):
            assert np.isclose(share + noise, 1.0, atol=1e-5)
        elif name in ("euler", "heun"):
            assert share == 1.0
        else:
            assert np.isclose(share**2 + noise**2, 1.0, atol=1e-5)


def keep_of(shape=(1, 1, 4, 8, 8), **more) -> Keep:
    random = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(shape, generator=random), torch.randn(shape, generator=random)
    anew = torch.zeros(1, 1, 1, *shape[-2:])
    anew[..., :4, :] = 1
    return Keep(clean, anew, noise, **more)


def test_known_cells_are_noised_to_the_level_of_the_step():
    scheduler = SCHEDULERS["flow"]
    scheduler.set_timesteps(4)
    keep, latents = keep_of(), torch.full((1, 1, 4, 8, 8), 7.0)
    made = keep.within(latents, scheduler, 2)
    sigma = float(scheduler.sigmas[2])
    torch.testing.assert_close(made[..., 4:, :], ((1 - sigma) * keep.clean + sigma * keep.noise)[..., 4:, :])
    assert (made[..., :4, :] == 7).all()
    torch.testing.assert_close(keep.within(latents, scheduler, 4)[..., 4:, :], keep.clean[..., 4:, :])


@pytest.mark.parametrize("name", ["flow", "euler", "ddim"])
def test_going_back_gives_the_noise_that_the_step_began_with(name):
    scheduler = SCHEDULERS[name]
    scheduler.set_timesteps(6)
    shape = (1, 1, 4, 96, 96)
    keep = keep_of(shape, generators=[torch.Generator().manual_seed(1)])
    picture, noise = torch.full(shape, 0.5), torch.randn(shape, generator=torch.Generator().manual_seed(2))
    share, amount = level(scheduler, 4)
    before = level(scheduler, 3)
    new = keep.back(share * picture + amount * noise, scheduler, 3)[..., :4, :]
    assert np.isclose(float(new.mean()), 0.5 * before[0], atol=0.1 * max(before))
    assert np.isclose(float(new.std()), before[1], rtol=0.1)


def test_a_cell_is_anew_if_any_of_its_pixels_is():
    mask = torch.zeros(8, 12)
    mask[3, 4] = 0.01
    assert cells(mask, 4).tolist() == [[0, 1, 0], [0, 0, 0]]


def test_the_known_cells_of_an_answer_are_the_encoded_picture(team, monkeypatch):
    picture = np.random.default_rng(0).random((24, 32, 3), np.float32)
    mask = np.zeros((24, 32), np.float32)
    mask[:, :8] = 1
    known, seen = Inpaint({"albedo": picture}, mask), []
    decode = team.base.decode
    monkeypatch.setattr(team.base, "decode", lambda latents: (seen.append(latents), decode(latents))[1])
    truth = team.base.encode(torch.from_numpy(picture).permute(2, 0, 1)[None] * 2 - 1)
    for options in ({"steps": 3}, {"steps": 3, "solver": "heun"}, {"steps": 3, "solver": "dpm++"}, {"steps": 1}):
        team.run({}, ["albedo"], inpaint=known, **options)
        torch.testing.assert_close(seen[-1][..., 4:], truth[..., 4:], atol=1e-5, rtol=0)
        assert (seen[-1] - truth)[..., :4].abs().mean() > 0.1, options


def test_new_cells_heed_the_known_ones_and_repeats_are_steps(team):
    mask = np.zeros((16, 16), np.float32)
    mask[4:12, 4:12] = 1
    made, counted = [], []
    for value in (0.2, 0.8):
        known = Inpaint({"albedo": np.full((16, 16, 3), value, np.float32)}, mask, repeats=3)
        report = lambda done, total, preview: counted.append((done, total))  # noqa: E731
        made.append(team.run({}, ["albedo"], steps=4, inpaint=known, on_step=report)["albedo"])
    assert np.abs(made[0] - made[1])[6:10, 6:10].mean() > 1e-3
    assert counted[:10] == [(i, 10) for i in range(1, 11)], "the first of four steps begins with nothing but noise"
    again = team.run({}, ["albedo"], steps=4, inpaint=known)["albedo"]
    assert np.array_equal(again, made[1]), "the seed decides"


def test_repeats_are_the_same_for_a_seed_whatever_is_made_beside(team, sd3, tmp_path):
    mask = np.zeros((16, 16), np.float32)
    mask[4:12, 4:12] = 1
    known = Inpaint({"albedo": np.full((16, 16, 3), 0.5, np.float32)}, mask, repeats=3)
    batch = team.run([{}, {}], ["albedo"], steps=3, seed=5, inpaint=known)
    for index, made in enumerate(batch):
        alone = team.run({}, ["albedo"], steps=3, seed=5 + index, inpaint=known)["albedo"]
        np.testing.assert_allclose(made["albedo"], alone, atol=2e-5)
    untrained = load_team(sd3, tiny_adapter(sd3, tmp_path / "zero.safetensors", scale=0.0))
    alone, beside = (untrained.run({}, wanted, steps=3, inpaint=known)["albedo"] for wanted in (["albedo"], ["normals", "albedo"]))
    np.testing.assert_allclose(beside, alone, atol=2e-5)


def test_a_channel_of_which_nothing_is_known_is_made_as_a_whole(team):
    mask = np.ones((16, 16), np.float32)
    mask[:8] = 0
    known = Inpaint({"albedo": np.full((16, 16, 3), 0.5, np.float32)}, mask)
    made = team.run({}, ["albedo", "depth"], steps=2, inpaint=known)
    assert set(made) == {"albedo", "depth"} and made["depth"].shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (Inpaint({"normals": np.ones((8, 8, 3))}, np.ones((8, 8))), "'normals', which is not requested"),
        (Inpaint({"albedo": np.ones((8, 9, 3))}, np.ones((8, 8))), "albedo is 9 x 8; expected 8 x 8"),
        (Inpaint({"albedo": np.ones((8, 8, 3))}, np.zeros((8, 8))), "mask is empty"),
        (Inpaint({"albedo": np.ones((8, 8, 3))}, np.ones((8, 8)), repeats=0), "repeats is 0"),
    ],
)
def test_what_cannot_be_is_one_sentence(team, known, words):
    with pytest.raises(RequestError, match=words):
        team.run({}, ["albedo"], steps=1, inpaint=known)
