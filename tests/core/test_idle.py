# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects rows that rest: a team of which one row answers for all computes that row alone, answers as before, and trains whole."""

import numpy as np
import pytest
import torch

from engine_server.diffusion.loading import load_base, load_team
from engine_server.teamwork.checkpoint import save_checkpoint
from engine_server.teamwork.config import TeamConfig
from engine_server.teamwork.idle import wake
from engine_server.teamwork.inject import adapters, attach, detach

from .tiny import tiny_base

TEAMMATES = ("image.in", "albedo.in", "albedo.out", "depth.out", "normals.out")


def write_team(folder, base, readers=("image.in",), layers=("conv_in", "conv_out"), silent=True):
    """A team of random adapters, whose last one reads the features of some teammates only, on a base that answers nothing itself."""
    made = load_base(base)
    torch.manual_seed(1)
    if silent:
        torch.nn.init.zeros_(made.network.conv_out.weight)
    config = TeamConfig(TEAMMATES, rank=4, base_model=str(base), profile="SD2")
    attach(made.network, layers, config)
    for adapter in adapters(made.network).values():
        torch.nn.init.normal_(adapter.up, std=0.5)
        torch.nn.init.normal_(adapter.down, std=0.5)
    last = adapters(made.network)["conv_out"]
    for place, name in enumerate(TEAMMATES):
        last.down.data[place] *= name in readers
    save_checkpoint(folder / "team.safetensors", made.network, config, torch.float32)
    detach(made.network)
    made.network.save_pretrained(folder / "base" / "unet")
    for part in ("vae", "scheduler"):
        (folder / "base" / part).symlink_to(base / part)
    (folder / "base" / "empty_prompt.safetensors").symlink_to(base / "empty_prompt.safetensors")
    return load_team(folder / "base", folder / "team.safetensors")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base("SD2", tmp_path_factory.mktemp("base"))


def rows_seen(team, *given, **told):
    """How many rows pass the middle of the network in each of its passes; and the answers."""
    seen = []
    hook = team.base.network.mid_block.register_forward_pre_hook(lambda block, args: seen.append(len(args[0])))
    made = team.run(*given, **told)
    hook.remove()
    return seen, made


def photo(seed=0, side=16):
    return {"image": np.random.default_rng(seed).random((side, side, 3), np.float32)}


def same(made, expected):
    return all(np.abs(picture - expected[name]).max() < 1e-5 for name, picture in made.items())


@pytest.mark.parametrize("wanted", ["all", ["depth"], ["albedo", "normals"]])
def test_only_the_row_that_is_read_is_computed_and_the_answers_stay(base, tmp_path, wanted):
    team = write_team(tmp_path, base)
    seen, made = rows_seen(team, photo(), wanted, steps=3)
    wake(team.base.network)
    all_rows, expected = rows_seen(team, photo(), wanted, steps=3)
    assert seen == [1, 1, 1] and all_rows == [1 + len(expected)] * 3
    assert same(made, expected)


def test_of_several_images_each_has_its_row(base, tmp_path):
    team = write_team(tmp_path, base)
    seen, made = rows_seen(team, [photo(0), photo(1)], steps=2)
    wake(team.base.network)
    expected = team.run([photo(0), photo(1)], steps=2)
    assert seen == [2, 2] and all(same(*each) for each in zip(made, expected, strict=True))
    assert not same(made[0], expected[1])


def test_two_rows_may_be_read(base, tmp_path):
    team = write_team(tmp_path, base, readers=("image.in", "depth.out"))
    seen, made = rows_seen(team, photo(), ["albedo", "depth", "normals"], steps=2)
    wake(team.base.network)
    assert seen == [2, 2] and same(made, team.run(photo(), ["albedo", "depth", "normals"], steps=2))


@pytest.mark.parametrize(
    "changes", [{"silent": False}, {"layers": ("conv_in", "down_blocks.0.resnets.0.conv1", "conv_out")}, {"readers": TEAMMATES}]
)
def test_rows_that_somebody_reads_are_computed(base, tmp_path, changes):
    assert rows_seen(write_team(tmp_path, base, **changes), photo(), steps=1)[0] == [4]


def test_where_no_row_is_read_all_are_computed(base, tmp_path):
    """Nothing tells then which one could stand for the others."""
    assert rows_seen(write_team(tmp_path, base), {"albedo": photo()["image"]}, ["depth"], steps=1)[0] == [2]


def test_training_computes_all_rows(base, tmp_path):
    """A row that is not read yet may learn to be."""
    team = write_team(tmp_path, base)
    last = adapters(team.base.network)["conv_out"]
    last.down.requires_grad_(True)
    rows = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with team.roster.working((0, 2, 3, 4)):
        answer = team.base.predict(rows, torch.tensor(500), team.base.conditions(4, 16, 16))
        answer.square().sum().backward()
    assert all(last.down.grad[place].any() for place in (0, 2, 3, 4))
    with torch.no_grad(), team.roster.working((0, 2, 3, 4)):
        rested = team.base.predict(rows, torch.tensor(500), team.base.conditions(4, 16, 16))
    assert torch.allclose(answer.detach(), rested, atol=1e-4)


def test_a_team_that_is_taken_off_leaves_the_bare_network(base, tmp_path):
    team = write_team(tmp_path, base)
    network, plain = team.base.network, load_base(tmp_path / "base").network
    team.run(photo(), steps=1)
    detach(network)
    rows = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    told = {"encoder_hidden_states": team.base.prompt.prompt_embeds.expand(4, -1, -1), "return_dict": False}
    with torch.no_grad():
        assert torch.equal(network(rows, 1, **told)[0], plain(rows, 1, **told)[0])
    assert not hasattr(network, "idle_rows")
