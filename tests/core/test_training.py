# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects training: each stage learns, a resume equals the straight run bit for bit, subsets are what they should be."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from engine_server.diffusion.loading import load_base
from engine_server.teamwork import TeamConfig, load_team
from engine_server.train.config import ConfigError, DataSet, TrainConfig, load_config
from engine_server.teamwork.inject import adapters
from engine_server.teamwork.pictures import to_pixels
from engine_server.train.flow import flow_loss
from engine_server.train.loop import Trainer
from engine_server.train.precision import mixed_precision
from engine_server.train.samples import LatentCache
from engine_server.train.team import choose, stage_for

from .tiny import tiny_base

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
def samples(tmp_path_factory):
    """Six samples of 32 x 32: a smooth photo, its albedo, and for half of them a depth."""
    folder = tmp_path_factory.mktemp("samples")
    random = np.random.default_rng(0)
    for number in range(6):
        small = Image.fromarray(random.integers(0, 255, (4, 4, 3), np.uint8))
        photo = small.resize((32, 32), Image.BICUBIC)
        pictures = {"flash": photo, "albedo": photo.rotate(90)} | ({"depth": photo.convert("L")} if number % 2 else {})
        (folder / str(number)).mkdir()
        for name, picture in pictures.items():
            picture.save(folder / str(number) / f"{name}.png")
    return folder


def team_config(samples, base, output, **changes):
    network = {"teammates": ["image.in", "albedo.out", "depth.out"], "rank": 4, "profile": "SD3"}
    data = (DataSet(str(samples), rename={"flash": "image"}),)
    settings = {"batch": 2, "crop": 16, "learning_rate": 3e-3, "warmup": 1, "save_every": 4}
    return TrainConfig("team", str(output), data, network, str(base), **(settings | changes))


def train(config):
    trainer = Trainer(config, stage_for(config), lambda line: None)
    trainer.run()
    return trainer


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
    given, wanted = ["image"], ["albedo", "depth"]
    start = stage.noise.get_state()
    losses = []
    for precision in ("float32", "bfloat16"):
        stage.noise.set_state(start)
        latents = {n: torch.ones(2, stage.base.channels, 4, 4) for n in (*given, *wanted)}
        with mixed_precision(precision):
            losses.append(stage._loss(given, wanted, latents).item())
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


def test_emphasis_weighs_channels():
    square = torch.tensor([1.0, 3.0])[:, None, None]
    zero = torch.zeros(2, 1, 1)
    assert flow_loss(square.sqrt(), zero, zero) == pytest.approx(2.0)
    assert flow_loss(square.sqrt(), zero, zero, torch.tensor([1.5, 0.5])) == pytest.approx(1.5)


@pytest.mark.parametrize("optimizer", ["adamw", "prodigy"])
def test_resume_equals_the_straight_run_bit_for_bit(samples, base, tmp_path, optimizer):
    rate = 1.0 if optimizer == "prodigy" else 3e-3
    config = team_config(samples, base, tmp_path / "straight", steps=8, optimizer=optimizer, learning_rate=rate)
    train(config)
    halted = Trainer(dataclasses.replace(config, output=str(tmp_path / "halves")), stage_for(config), lambda line: None)
    halted.save, saved = lambda: None, halted.save
    for _ in range(5):
        halted._optimizer_step()
        halted.step += 1
    saved()
    train(dataclasses.replace(config, output=str(tmp_path / "halves")))
    a, b = (load_file(tmp_path / half / "team.safetensors") for half in ("straight", "halves"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_only_adapters_train(samples, base, tmp_path):
    stage = stage_for(team_config(samples, base, tmp_path, steps=1))
    before = {n: p.clone() for n, p in stage.base.network.named_parameters() if ".adapter." not in n}
    stage.loss().backward()
    trained = {id(p) for p in stage.parameters()}
    for name, parameter in stage.base.network.named_parameters():
        assert (id(parameter) in trained) == (".adapter." in name)
        assert name not in before or parameter.grad is None


def test_autoencoder_and_base_learn_and_save_a_base_that_loads(samples, tmp_path):
    data = (DataSet(str(samples)),)
    common = {"batch": 4, "crop": 16, "warmup": 1, "seed": 1}
    vae = TrainConfig("vae", str(tmp_path / "vae"), data, VAE, steps=30, learning_rate=1e-4, **common)
    losses = train(vae).losses
    assert np.mean(losses[-8:]) <= np.mean(losses[:8])
    network = {
        "sample_size": 2, "patch_size": 2, "in_channels": 4, "out_channels": 4, "num_layers": 1,
        "attention_head_dim": 8, "num_attention_heads": 2, "joint_attention_dim": 8, "caption_projection_dim": 16,
        "pooled_projection_dim": 8, "pos_embed_max_size": 8,
    }  # fmt: skip
    options = {"pool": 25}
    config = TrainConfig("base", str(tmp_path / "base"), data, network, str(tmp_path / "vae"), steps=60,
                         learning_rate=3e-3, options=options, **common)  # fmt: skip
    losses = train(config).losses
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
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
        ("stage = ", "not TOML"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(tmp_path, text, words):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path / "c.toml")


def test_an_empty_data_folder_is_named(base, tmp_path):
    with pytest.raises(ConfigError, match="empty"):
        (tmp_path / "empty").mkdir()
        stage_for(team_config(tmp_path / "empty", base, tmp_path))


def test_latents_are_encoded_once_and_equal_pictures_kept_once(base, tmp_path):
    colours = {"a": (10, 20, 30), "b": (200, 100, 0), "c": (10, 20, 30)}
    files = []
    for name, colour in colours.items():
        files.append(tmp_path / f"{name}.png")
        Image.new("RGB", (16, 8), colour).save(files[-1])
    frozen = load_base(base)
    cache = LatentCache(frozen, tmp_path / "latents.safetensors")
    cache.fill(files, batch=2)
    assert torch.equal(cache[files[0]], cache[files[2]]) and not torch.equal(cache[files[0]], cache[files[1]])
    expected = frozen.encode(to_pixels([np.asarray(Image.open(files[1]), np.float32) / 255]))[0]
    torch.testing.assert_close(cache[files[1]], expected, atol=2e-3, rtol=2e-3)
    assert [len(block) for block in cache.blocks] == [2]

    frozen.encode = None  # a second run has nothing to encode
    again = LatentCache(frozen, tmp_path / "latents.safetensors")
    again.fill(files)
    assert all(torch.equal(again[file], cache[file]) for file in files)
