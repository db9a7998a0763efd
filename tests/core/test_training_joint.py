# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the training of a base together with its teams: all learn, all is saved, a resume is exact, shares are kept."""

import dataclasses

import numpy as np
import pytest
import torch

from engine_server.diffusion.loading import load_base, load_team
from engine_server.teamwork.inject import adapters
from engine_server.train.config import ConfigError, DataSet, TrainConfig
from engine_server.train.joint import twin
from engine_server.train.measure import pixel_measure
from engine_server.train.team import stage_for

from .tiny import tiny_base
from .training import team_config, train, write_config

UNET = {
    "sample_size": 4, "in_channels": 4, "out_channels": 4, "block_out_channels": [8, 16], "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 8, "attention_head_dim": 2, "norm_num_groups": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base("SD2", tmp_path_factory.mktemp("base"))


@pytest.fixture
def teams(samples, base, tmp_path):
    """The files of two teams of different channels on that base."""
    network = {"profile": "SD2"}
    maps = team_config(samples, base, tmp_path, network=network)
    depths = dataclasses.replace(maps, network=maps.network | {"teammates": ("image.in", "depth.out")})
    return [str(write_config(config, tmp_path / name)) for name, config in (("maps.toml", maps), ("depths.toml", depths))]


def joint_config(teams, base, output, **changes):
    common = {"optimizer": "adamw", "learning_rate": 3e-3, "accumulate": 1, "precision": "float32", "tensorboard": False}
    return TrainConfig("joint", str(output), base=str(base), **{"options": {"teams": tuple(teams)}} | common | changes)


def losses_of(stage):
    with torch.no_grad():
        return {name: sum(float(team.loss(n)) for n in range(10_000, 10_006)) for name, team in stage.teams.items()}


def test_base_and_teams_learn_together_and_load_from_what_was_saved(teams, base, tmp_path):
    config = joint_config(teams, base, tmp_path / "run", steps=80)
    stage = stage_for(config)
    before, weights = losses_of(stage), [p.clone() for p in stage.base.network.parameters()]
    trained = train(config).stage
    after = losses_of(trained)
    assert all(after[name] < before[name] for name in before)
    assert any(not torch.equal(a, b) for a, b in zip(weights, trained.base.network.parameters(), strict=True))
    for name, team in trained.teams.items():
        loaded = load_team(tmp_path / "run" / "base", tmp_path / "run" / name / "team.safetensors")
        assert loaded.teammates == team.team.teammates
        for path, adapter in adapters(loaded.base.network).items():
            assert torch.equal(adapter.up, adapters(team.base.network)[path].up)
    bare = load_base(tmp_path / "run" / "base").network.state_dict()
    assert all(torch.equal(bare[name], value) for name, value in trained.base.network.state_dict().items())


def test_teams_share_the_parameters_of_the_base_but_not_its_modules(teams, base, tmp_path):
    stage = stage_for(joint_config(teams, base, tmp_path / "run"))
    maps, depths = (team.base.network for team in stage.teams.values())
    assert maps.conv_in is not depths.conv_in and maps.conv_in.weight is depths.conv_in.weight
    assert len({id(p) for p in stage.parameters()}) == len(stage.parameters())
    assert not adapters(stage.base.network) and all(p.requires_grad for p in stage.parameters())


def test_a_resume_of_a_joint_run_is_exact(teams, base, tmp_path):
    straight = train(joint_config(teams, base, tmp_path / "straight", steps=6, schedule="constant"))
    train(joint_config(teams, base, tmp_path / "halves", steps=3, schedule="constant"))
    resumed = train(joint_config(teams, base, tmp_path / "halves", steps=6, schedule="constant"))
    assert all(torch.equal(a, b) for a, b in zip(straight.params, resumed.params, strict=True))


def test_a_fresh_unet_on_an_autoencoder(teams, base, tmp_path):
    from diffusers import AutoencoderDC

    vae = AutoencoderDC.from_config(
        {"latent_channels": 4, "encoder_block_out_channels": [8, 8], "decoder_block_out_channels": [8, 8],
         "encoder_layers_per_block": [1, 1], "decoder_layers_per_block": [1, 1], "encoder_qkv_multiscales": [[], []],
         "decoder_qkv_multiscales": [[], []], "encoder_block_types": "ResBlock", "decoder_block_types": "ResBlock"}
    )  # fmt: skip
    vae.save_pretrained(tmp_path / "start" / "vae")
    with pytest.raises(ConfigError, match="holds no network to go on from"):
        stage_for(joint_config(teams, tmp_path / "start", tmp_path / "run"))
    config = joint_config(teams, tmp_path / "start", tmp_path / "run", network=UNET, steps=2)
    train(config)
    made = load_team(tmp_path / "run" / "base", tmp_path / "run" / "maps" / "team.safetensors")
    assert made.base.family == "SD2" and not hasattr(made.base.template, "alphas_cumprod")
    maps = made.run({"image": np.full((20, 12, 3), 0.5, np.float32)}, steps=2)
    assert maps["albedo"].shape == (20, 12, 3) and np.isfinite(maps["albedo"]).all()


def test_shares_say_how_often_each_team_is_drawn(teams, base, tmp_path):
    config = joint_config(teams, base, tmp_path / "run", options={"teams": tuple(teams), "shares": (0.0, 1.0)})
    stage = stage_for(config)
    stage.teams["maps"].loss = None  # would fail if it were called
    assert all(torch.isfinite(stage.loss(number)) for number in range(8))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"teams": ()}, "options.teams is empty"),
        ({"teams": ("a.toml",), "shares": (1.0, 2.0)}, "expected one for each of the 1 teams"),
        ({"teams": ("a.toml",), "shares": (-1.0,)}, "a number below 0"),
        ({"teams": ("a/x.toml", "b/x.toml")}, "the same file name"),
        ({"teams": ("a.toml",)}, "cannot be read"),
    ],
)
def test_mistakes_get_a_sentence(options, sentence, base, tmp_path):
    with pytest.raises(ConfigError, match=sentence):
        stage_for(joint_config((), base, tmp_path, options=options))


def test_the_measure_in_pixels_is_what_a_decoder_makes_of_each_latent_channel(base):
    made = twin(load_base(base))
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.5]])[: made.channels]
    made.decode = lambda latents: torch.einsum("bchw,cd->bdhw", latents, weights)
    measure = pixel_measure(made).flatten()
    expected = weights.square().sum(1)
    assert torch.allclose(measure, expected / expected.mean(), atol=1e-4)


def test_nothing_given_in_a_share_of_batches(samples, base, tmp_path):
    data = (DataSet(str(samples), rename={"flash": "image"}, unconditional=1.0),)
    stage = stage_for(team_config(samples, base, tmp_path, network={"profile": "SD2"}, data=data))
    seen = []
    stage.loss_of = lambda batch, given, wanted, generator: seen.append((given, wanted)) or torch.zeros(())
    for number in range(5):
        stage.loss(number)
    assert all(not given and "albedo" in wanted for given, wanted in seen)
