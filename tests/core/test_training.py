# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects training: each stage learns, a resume equals the straight run bit for bit, subsets are what they should be."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine_server.teamwork import TeamConfig, load_team
from engine_server.teamwork.inject import adapters
from engine_server.train.config import ConfigError, DataSet, TrainConfig, load_config
from engine_server.train.flow import flow_loss
from engine_server.train.precision import mixed_precision
from engine_server.train.samples import Batch
from engine_server.train.team import choose, stage_for

from .tiny import tiny_base
from .training import team_config, train

VAE = {
    "latent_channels": 4,
    "encoder_block_out_channels": [16, 32, 64, 64],
    "decoder_block_out_channels": [16, 32, 64, 64],
    "encoder_layers_per_block": [0, 1, 1, 1],
    "decoder_layers_per_block": [0, 1, 1, 1],
    "encoder_qkv_multiscales": [[], [], [], []],
    "decoder_qkv_multiscales": [[], [], [], []],
    "downsample_block_type": "conv",
    "encoder_out_shortcut": False,
    "decoder_in_shortcut": False,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base("SD3", tmp_path_factory.mktemp("base"))


def test_a_team_learns_and_its_file_loads(samples, base, tmp_path):
    losses = train(team_config(samples, base, tmp_path, steps=120)).losses
    assert np.mean(losses[-20:]) < 0.9 * np.mean(losses[:20])
    team = load_team(base, tmp_path / "team.safetensors")
    assert team.teammates == ("image.in", "albedo.out", "depth.out")


def test_a_team_learns_in_mixed_precision_and_stays_float32(samples, base, tmp_path):
    trainer = train(team_config(samples, base, tmp_path, steps=120, precision="bfloat16"))
    assert np.mean(trainer.losses[-20:]) < 0.9 * np.mean(trainer.losses[:20])
    assert all(p.dtype == torch.float32 for p in trainer.params)


def test_mixed_precision_is_near_the_full_one(samples, base, tmp_path):
    stage = stage_for(team_config(samples, base, tmp_path, steps=1))
    batch = Batch({name: torch.ones(2, stage.base.channels, 4, 4) for name in ("image", "albedo", "depth")})
    losses = []
    for precision in ("float32", "bfloat16"):
        with mixed_precision(precision):
            losses.append(stage.loss_of(batch, ["image"], ["albedo", "depth"], torch.Generator().manual_seed(0)).item())
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_a_team_starts_from_teammates_that_another_has_trained(samples, base, tmp_path):
    train(team_config(samples, base, tmp_path / "first", steps=5))
    config = team_config(samples, base, tmp_path / "second", steps=1)
    network = config.network | {"teammates": ("image.in", "depth.out", "normals.out")}
    options = config.options | {"start": str(tmp_path / "first" / "team.safetensors")}
    stage = stage_for(dataclasses.replace(config, network=network, options=options))
    trained = load_file(tmp_path / "first" / "team.safetensors")
    for layer, adapter in adapters(stage.base.network).items():
        for name, parameter in adapter.named_parameters():
            assert torch.equal(parameter[:2], trained[f"{layer}.adapter.{name}"][[0, 2]])
    assert all(not adapter.up[2].any() for adapter in adapters(stage.base.network).values())


def test_teammates_without_any_data_are_named(samples, base, tmp_path):
    teammates = ("image.in", "albedo.out", "depth.out", "normals.in", "normals.out")
    said = []
    config = team_config(samples, base, tmp_path / "run", network={"teammates": teammates})
    stage_for(config, say=said.append)
    assert "no data set has anything for normals.in, normals.out, which learns nothing" in said
    only = (dataclasses.replace(config.data[0], given=("image",), wanted=("albedo",)), dataclasses.replace(config.data[0], weight=0.0))
    stage_for(team_config(samples, base, tmp_path / "run", data=only), say=said.append)
    assert "no data set has anything for depth.out, which learns nothing" in said
    said.clear()
    stage_for(team_config(samples, base, tmp_path / "run"), say=said.append)
    assert not said


def test_emphasis_weighs_channels():
    square = torch.tensor([1.0, 3.0])[:, None, None]
    zero = torch.zeros(2, 1, 1)
    assert flow_loss(square.sqrt(), zero, zero) == pytest.approx(2.0)
    assert flow_loss(square.sqrt(), zero, zero, torch.tensor([1.5, 0.5])) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("emphasis", "words"),
    [
        ({"normals": 2.0}, "emphasis names 'normals', which is no output; the outputs are albedo, depth"),
        ({"albedo": 0.0}, "emphasis has 0.0 for albedo; expected a number above 0"),
        ({"depth": -1.0}, "emphasis has -1.0 for depth"),
    ],
)
def test_an_emphasis_that_cannot_be_gets_a_sentence(samples, base, tmp_path, emphasis, words):
    with pytest.raises(ConfigError, match=words):
        stage_for(team_config(samples, base, tmp_path, options={"emphasis": emphasis}))


def test_only_adapters_train(samples, base, tmp_path):
    stage = stage_for(team_config(samples, base, tmp_path, steps=1))
    before = {n: p.clone() for n, p in stage.base.network.named_parameters() if ".adapter." not in n}
    stage.loss(0).backward()
    trained = {id(p) for p in stage.parameters()}
    for name, parameter in stage.base.network.named_parameters():
        assert (id(parameter) in trained) == (".adapter." in name)
        assert name not in before or parameter.grad is None


@torch.no_grad()
def fixed_loss(stage):
    """On batches that training does not see."""
    return np.mean([float(stage.loss(number)) for number in range(10_000, 10_008)])


def test_autoencoder_and_base_learn_and_save_a_base_that_loads(samples, tmp_path):
    data = (DataSet(str(samples)),)
    common = {"batch": 4, "crop": 16, "seed": 1, "optimizer": "adamw", "accumulate": 1}
    common |= {"precision": "float32", "tensorboard": False}
    vae = TrainConfig("vae", str(tmp_path / "vae"), data, VAE, steps=30, learning_rate=1e-4, **common)
    before = fixed_loss(stage_for(vae))
    assert fixed_loss(train(vae).stage) < before
    network = {
        "sample_size": 2, "patch_size": 2, "in_channels": 4, "out_channels": 4, "num_layers": 1,
        "attention_head_dim": 8, "num_attention_heads": 2, "joint_attention_dim": 8, "caption_projection_dim": 16,
        "pooled_projection_dim": 8, "pos_embed_max_size": 8,
    }  # fmt: skip
    options = {"pool": 25}
    config = TrainConfig("base", str(tmp_path / "base"), data, network, str(tmp_path / "vae"), steps=60,
                         learning_rate=3e-3, options=options, **common)  # fmt: skip
    before = fixed_loss(stage_for(config))
    assert fixed_loss(train(config).stage) < before
    stage_for(team_config(samples, tmp_path / "base", tmp_path / "team", steps=1))


def test_chosen_channels():
    team = TeamConfig(("image.in", "albedo.in", "albedo.out", "depth.out"), 4, "SD3")
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        given, wanted = choose(DataSet("x"), ["albedo", "depth", "image"], team, random, keep=0.3)
        assert wanted and not set(given) & set(wanted)
        assert set(given) <= {"image", "albedo"} and set(wanted) <= {"albedo", "depth"}
        seen.add((tuple(given), tuple(wanted)))
    assert (("image",), ("albedo", "depth")) in seen and (("albedo",), ("depth",)) in seen and len(seen) > 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stage = 'vae'", "output"),
        ("stage = 'vae'\noutput = 'x'\nspeed = 1\n[network]", "speed"),
        ("stage = 'gan'\noutput = 'x'\ndata = [{folder = 'x'}]\n[network]", "gan"),
        ("stage = 'vae'\noutput = 'x'\nbatch = 0\ndata = [{folder = 'x'}]\n[network]", "batch"),
        ("stage = 'vae'\noutput = 'x'\n[network]", "data"),
        ("stage = 'vae'\noutput = 'x'\ncompile = true\ndata = [{folder = 'x'}]\n[network]", "autoencoder; leave it out"),
        ("stage = ", "not TOML"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(tmp_path, text, words):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("stage", "text", "words"),
    [
        ("vae", 'base = "x"', "base does nothing in the stage vae; leave it out"),
        ("vae", 'weights = "float32"', "weights does nothing in the stage vae"),
        ("base", "checkpointing = true", "checkpointing does nothing in the stage base"),
        ("estimate", 'weights = "bfloat16"', "weights does nothing in the stage estimate"),
        ("unison", "[[validation]]\nfolder = 'y'", r"\[\[validation\]\] does nothing in the stage unison"),
        ("joint", "compile = true", "compile does nothing in the stage joint"),
        ("joint", "batch = 8", "batch does nothing in the stage joint"),
        ("joint", "crop = 128", "crop does nothing in the stage joint"),
        ("joint", "", r"\[\[data\]\] does nothing in the stage joint"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(tmp_path, stage, text, words):
    (tmp_path / "c.toml").write_text(f"stage = '{stage}'\noutput = 'x'\n{text}\n[[data]]\nfolder = 'x'")
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("stage", "name"),
    [("estimate", "unconditional = 0.5"), ("unison", "unconditional = 0.5"), ("unison", "given = ['a']"), ("unison", "wanted = ['a']")],
)
def test_an_option_of_a_set_that_would_do_nothing_is_refused(tmp_path, stage, name):
    (tmp_path / "c.toml").write_text(f"stage = '{stage}'\noutput = 'x'\n[[data]]\nfolder = 'x'\n{name}")
    with pytest.raises(ConfigError, match=f"The data set x: {name.split()[0]} does nothing in the stage {stage}; leave it out"):
        load_config(tmp_path / "c.toml")


@pytest.mark.parametrize("name", ["rename = {a = 'b'}", "given = ['a']", "wanted = ['a']", "mask = 'a'", "side = 2", "mirror = true"])
def test_of_a_set_of_plain_pictures_folder_and_weight_count(tmp_path, name):
    (tmp_path / "c.toml").write_text(f"stage = 'vae'\noutput = 'x'\n[[data]]\nfolder = 'x'\nweight = 2\n{name}")
    with pytest.raises(ConfigError, match=f"The data set x: {name.split()[0]} does nothing in the stage vae; leave it out"):
        load_config(tmp_path / "c.toml")


def test_an_option_at_its_default_passes_in_every_stage(tmp_path):
    text = "output = 'x'\ncheckpointing = false\nweights = ''\n"
    for stage in ("vae", "base", "estimate", "unison", "team"):
        (tmp_path / "c.toml").write_text(f"stage = '{stage}'\n{text}[[data]]\nfolder = 'x'\nmirror = false\ngiven = []")
        assert load_config(tmp_path / "c.toml").stage == stage


def test_a_file_with_the_mark_that_windows_editors_write_is_read(tmp_path):
    (tmp_path / "c.toml").write_text("stage = 'vae'\noutput = 'x'\n[[data]]\nfolder = 'x'\n", encoding="utf-8-sig")
    assert load_config(tmp_path / "c.toml").stage == "vae"
