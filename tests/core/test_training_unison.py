# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the training of a base that makes all channels in one row: what the row is shown and what counts, that it learns, that a
resume is exact, and that the team which is grafted from it answers just the same."""

import dataclasses
import sys
from subprocess import run

import numpy as np
import pytest
import torch

from engine_server.diffusion.loading import load_base, load_team
from engine_server.teamwork.pictures import to_pictures
from engine_server.train.config import ConfigError, DataSet
from engine_server.train.graft import grafted_unison
from engine_server.train.holes import random_hole
from engine_server.train.samples import Batch
from engine_server.train.team import stage_for

from .tiny import tiny_base
from .training import ROOT, losses_of, team_config, train

TEAMMATES = ("image.in", "albedo.in", "mask.in", "albedo.out", "depth.out")


@pytest.fixture
def config(samples, base, tmp_path):
    data = (DataSet(str(samples), rename={"flash": "image"}),)
    options = {"teammates": TEAMMATES, "hub": "albedo.out"}
    made = team_config(samples, base, tmp_path / "run", stage="unison", data=data, steps=40, options=options)
    return dataclasses.replace(made, network={})


def test_it_learns_and_a_run_goes_on_with_its_wide_layers(config, tmp_path):
    before = losses_of(stage_for(config))
    trained = train(config).stage
    assert losses_of(trained) < before
    again = stage_for(dataclasses.replace(config, base=config.output, output=str(tmp_path / "again")))
    assert losses_of(again) == pytest.approx(losses_of(trained), rel=1e-5)


def test_an_emphasis_of_no_output_gets_a_sentence(config):
    with pytest.raises(ConfigError, match="emphasis names 'image', which is no output; the outputs are albedo, depth"):
        stage_for(dataclasses.replace(config, options=config.options | {"emphasis": {"image": 2.0}}))


def test_a_resume_is_exact(config, tmp_path):
    config = dataclasses.replace(config, schedule="constant")
    straight = train(dataclasses.replace(config, output=str(tmp_path / "straight"), steps=6))
    halves = dataclasses.replace(config, output=str(tmp_path / "halves"))
    train(dataclasses.replace(halves, steps=3))
    resumed = train(dataclasses.replace(halves, steps=6))
    assert all(torch.equal(a, b) for a, b in zip(straight.params, resumed.params, strict=True))


def test_what_the_row_is_shown_and_what_counts(config):
    """Against slow loops: two pictures, one with a hole and all channels known around it, one with a photo given."""
    config = dataclasses.replace(config, options=config.options | {"emphasis": {"albedo": 3.0}, "outside": 0.25})
    stage, channels, side = stage_for(config), 4, 4
    latents = {name: torch.randn(2, channels, side, side) for name in ("image", "albedo", "depth")}
    roles = [{"albedo.in", "mask.in", "albedo.out", "depth.out"}, {"image.in", "albedo.out"}]
    seen = {}
    stage._answers = lambda rows, level, prompts: seen.update(rows=rows, level=level) or torch.zeros(2, 2 * channels, side, side)
    weight = torch.rand(2, 1, side, side)
    loss = float(stage.loss_of(Batch(latents, weight), roles, np.random.default_rng(5), torch.Generator().manual_seed(3)))

    generator = torch.Generator().manual_seed(3)
    level, _ = stage.objective.draw(2, 0.0, generator)
    product = stage.base.template.alphas_cumprod[level].double()
    noise = {name: torch.randn(2, channels, side, side, generator=generator) for name in ("albedo", "depth")}
    hole = random_hole((side, side), np.random.default_rng(5))
    rows = dict(zip(TEAMMATES, seen["rows"].chunk(len(TEAMMATES), 1), strict=True))
    assert torch.equal(seen["level"], level)
    for picture, active in enumerate(roles):
        for name in TEAMMATES:
            assert bool(rows[name][picture].any()) == (name in active)
    for name in ("albedo", "depth"):
        expected = product[0].sqrt() * latents[name][0] + (1 - product[0]).sqrt() * noise[name][0]
        assert torch.allclose(rows[f"{name}.out"][0], expected.float(), atol=1e-5)
    known = rows["albedo.in"][0]
    assert torch.equal(known[:, hole == 0], latents["albedo"][0][:, hole == 0])
    size = 4 * stage.base.multiple
    grey = stage.base.encode(torch.zeros(1, 3, size, size))[0, :, *(size // stage.base.factor // 2,) * 2]
    assert torch.allclose(known[:, hole > 0], grey[:, None].expand(-1, int(hole.sum())), atol=1e-4)
    assert torch.equal(rows["image.in"][1], latents["image"][1])

    total = 0.0
    for share, name in ((1.5, "albedo"), (0.5, "depth")):
        for picture, active in enumerate(roles):
            if f"{name}.out" in active:
                square = latents[name][picture].square() * stage.measure * min(1 + float(product[picture] / (1 - product[picture])), 6.0)
                counts = torch.where(hole > 0, 1.0, 0.25) if picture == 0 else torch.ones(side, side)
                total += share * float((square * counts * weight[picture]).sum())
    assert loss == pytest.approx(total / (2 * 2 * channels * side * side), rel=1e-4)


def test_the_grafted_team_answers_as_the_row_does(config, tmp_path):
    stage = train(config).stage
    command = [sys.executable, "-m", "engine_server.train.graft", "--unison", config.output, "--out", str(tmp_path / "team")]
    run(command, check=True, cwd=ROOT)
    team = load_team(tmp_path / "team" / "base", tmp_path / "team" / "team.safetensors")
    assert team.teammates == TEAMMATES
    team.always = ("albedo",)
    photo = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)
    noise = {n: torch.randn(stage.base.channels, 16 // stage.base.factor, 16 // stage.base.factor) for n in ("albedo", "depth")}
    made = team.run({"image": photo}, "depth", steps=1, noise={n: v.numpy() for n, v in noise.items()})
    assert list(made) == ["depth"]  # the hub worked along, and is not handed out

    given = stage.base.encode(torch.from_numpy(photo).movedim(-1, 0)[None] * 2 - 1)
    empty = torch.zeros_like(given)
    stage.base.network.eval()
    with torch.no_grad():
        rows = torch.cat([given, empty, empty, noise["albedo"][None], noise["depth"][None]], 1)
        clean = stage._answers(rows, torch.tensor([999])).chunk(2, 1)[1]
    expected = to_pictures(team.base.decode(clean))[0]
    assert np.abs(expected - made["depth"]).max() < 1e-3
    assert torch.equal(load_base(config.output).network.conv_in.weight, stage.base.network.conv_in.hub.weight)


def test_holes_are_neither_nothing_nor_all():
    for seed in range(200):
        hole = random_hole((32, 48), np.random.default_rng(seed))
        assert hole.shape == (32, 48) and set(hole.unique().tolist()) == {0.0, 1.0}
        assert 0 < float(hole.mean()) < 1


def test_without_a_mask_nothing_that_is_given_is_learnt_as_wanted(config):
    """All of a picture is known around a hole; where no mask tells of the hole that would be to copy what is given."""
    names = ("albedo.in", "image.in", "albedo.out", "image.out")
    stage = stage_for(dataclasses.replace(config, options=config.options | {"teammates": names, "holes": 1.0}))
    random = np.random.default_rng(0)
    assert not any({"image.in", "image.out"} <= stage._roles({"albedo", "image"}, random) for _ in range(200))


def test_mistakes_get_a_sentence(config, tmp_path):
    with pytest.raises(ConfigError, match=r"options\.hub is 'normals\.out'; expected one of albedo\.out, depth\.out"):
        stage_for(dataclasses.replace(config, options=config.options | {"hub": "normals.out"}))
    with pytest.raises(ConfigError, match="no wide.safetensors that names a hub"):
        grafted_unison(tmp_path)
    transformer = tiny_base("SD3", tmp_path / "transformer")
    with pytest.raises(ConfigError, match="needs a UNet"):
        stage_for(dataclasses.replace(config, base=str(transformer)))
