# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the training of a base that reads pictures: it learns, what it leaves is a plain base, a resume is exact, mistakes get
a sentence; and the autoencoder that is nothing but principal components."""

import dataclasses
import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC
from torch._dynamo.testing import CompileCounter

from engine_server.diffusion.loading import load_base, load_team
from engine_server.teamwork.checkpoint import read_checkpoint
from engine_server.teamwork.pictures import to_pictures, to_pixels
from engine_server.train import estimate
from engine_server.train.config import ConfigError, DataSet
from engine_server.train.estimate import EstimateStage, Teacher
from engine_server.train.graft import grafted
from engine_server.train.measure import mean_error
from engine_server.train.packed import write_pack
from engine_server.train.principal import components, patches, start_from_components
from engine_server.train.samples import Batch
from engine_server.train.team import stage_for
from engine_server.train.ungraft import ungrafted
from engine_server.train.wide import read_wide

from .tiny import tiny_base
from .training import ROOT, losses_of, team_config, train, write_samples


@pytest.fixture
def config(samples, base, tmp_path):
    data = (DataSet(str(samples), rename={"flash": "image"}, given=("image",), wanted=("albedo", "depth")),)
    made = team_config(samples, base, tmp_path / "run", stage="estimate", data=data, steps=60)
    return dataclasses.replace(made, network={})


def test_it_learns_and_leaves_a_base_as_it_found_it(config, base):
    before = losses_of(stage_for(config))
    trained = train(config).stage
    assert losses_of(trained) < before
    assert trained.base.network.conv_out.out_channels == 2 * trained.base.channels  # goes on training with all of it
    found, left = load_base(base).network, load_base(config.output).network
    assert torch.equal(found.conv_out.weight, left.conv_out.weight)
    assert not torch.equal(found.conv_in.weight, left.conv_in.weight)


def test_a_compiled_network_learns_the_same_and_leaves_the_same(config, monkeypatch):
    plain = train(dataclasses.replace(config, steps=2))
    compiler, compile = CompileCounter(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: compile(*a, **(k | {"backend": compiler})))
    torch._dynamo.reset()
    compiled = train(dataclasses.replace(config, steps=2, output=f"{config.output}_compiled", compile=True))
    torch._dynamo.reset()
    assert compiler.frame_count > 0
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain.params, compiled.params, strict=True))
    states = [load_base(run.config.output).network.state_dict() for run in (plain, compiled)]
    assert list(states[0]) == list(states[1])


def test_the_loss_is_the_weighed_error_of_the_channels_that_a_batch_has(config):
    config = dataclasses.replace(config, options={"emphasis": {"albedo": 3.0}})
    stage, channels = stage_for(config), 4
    truth = {name: torch.randn(2, channels, 4, 4) for name in ("image", "albedo", "depth")}
    with torch.no_grad():
        answers = stage._answers(truth["image"]).double()
    measure = stage.measure.flatten().double()

    def error(name):
        rows, clean = answers[stage.wanted.index(name)], truth[name].double()
        return sum(measure[c] * (rows[:, c] + clean[:, c]).square().mean() for c in range(channels)) / channels

    random = np.random.default_rng(0)
    both = float(stage._loss(Batch(truth), config.data[0], random).detach())
    assert both == pytest.approx(float((1.5 * error("albedo") + 0.5 * error("depth")) / 2), rel=1e-4)
    alone = {name: truth[name] for name in ("image", "depth")}
    assert float(stage._loss(Batch(alone), config.data[0], random).detach()) == pytest.approx(float(error("depth")), rel=1e-4)


def test_a_resume_is_exact(config, tmp_path):
    config = dataclasses.replace(config, schedule="constant")
    straight = train(dataclasses.replace(config, output=str(tmp_path / "straight"), steps=6))
    halves = dataclasses.replace(config, output=str(tmp_path / "halves"))
    train(dataclasses.replace(halves, steps=3))
    resumed = train(dataclasses.replace(halves, steps=6))
    assert all(torch.equal(a, b) for a, b in zip(straight.params, resumed.params, strict=True))


def test_what_it_has_learnt_is_a_teacher(config, samples, base, tmp_path):
    trained = train(config).stage
    teacher = Teacher(Path(config.output), "cpu")
    batch = trained.sets[0].draw(2, 4, np.random.default_rng(0))
    with torch.no_grad():
        answers = dict(zip(trained.wanted, -trained._answers(batch.latents["image"]), strict=True))
    taught = teacher.taught(batch).latents
    assert all(torch.allclose(taught[name], answers[name], atol=1e-6) for name in taught if name != "image")
    assert torch.equal(taught["image"], batch.latents["image"])

    options = {"teacher": config.output, "keep": 1.0, "start_share": 1.0, "zero_start": True}
    team = stage_for(team_config(samples, base, tmp_path / "team", network={"profile": "SD2"}, options=options))
    seen = []
    team.loss_of = lambda batch, given, wanted, generator: seen.append((batch, given)) or torch.zeros(())
    team.loss(0)
    assert seen[0][1] == ["image"]
    plain = stage_for(team_config(samples, base, tmp_path / "plain", network={"profile": "SD2"}, options=options | {"teacher": ""}))
    plain.loss_of = team.loss_of
    plain.loss(0)
    assert torch.equal(seen[0][0].latents["image"], seen[1][0].latents["image"])
    assert torch.allclose(seen[0][0].latents["albedo"], teacher.taught(seen[1][0]).latents["albedo"], atol=1e-6)


def test_a_grafted_team_answers_as_what_it_was_made_of_and_learns_further(config, samples, tmp_path):
    train(config)
    command = ["--estimate", config.output, "--out", str(tmp_path / "graft"), "--given", "depth", "--layers", r".*resnets\.0\.conv2"]
    run([sys.executable, "-m", "engine_server.train.graft", *command], check=True, cwd=ROOT)
    team = load_team(tmp_path / "graft" / "base", tmp_path / "graft" / "team.safetensors")
    assert team.teammates == ("image.in", "depth.in", "albedo.out", "depth.out")
    teacher, photo = Teacher(Path(config.output), "cpu"), np.random.default_rng(0).random((16, 32, 3)).astype(np.float32)
    made = team.run({"image": photo}, steps=1, zero_start=True)
    latents = team.base.encode(to_pixels([photo]))
    expected = teacher.taught(Batch({name: latents for name in ("image", "albedo", "depth")})).latents
    for name in ("albedo", "depth"):
        assert np.abs(to_pictures(team.base.decode(expected[name]))[0] - made[name]).max() < 1e-4
    alone = team.run({"image": photo}, "depth", steps=1, zero_start=True)["depth"]
    assert np.abs(alone - made["depth"]).max() < 1e-5

    with pytest.raises(ConfigError, match="is not a team as `graft` leaves it"):
        ungrafted(read_checkpoint(tmp_path / "graft" / "team.safetensors"), 32)

    further = {"start": str(tmp_path / "graft" / "team.safetensors"), "start_share": 1.0, "zero_start": True}
    network = {"teammates": team.teammates, "rank": team.config.rank, "profile": "SD2"}
    plan = team_config(samples, tmp_path / "graft" / "base", tmp_path / "team", network=network, options=further, steps=40)
    before = losses_of(stage_for(plan))
    assert losses_of(train(plan).stage) < before
    with pytest.raises(ConfigError, match="No layer of the base matches nothing"):
        grafted(teacher, layers="nothing")


def test_a_grafted_team_is_taken_apart_to_what_it_was_made_of(config, tmp_path):
    both = (dataclasses.replace(config.data[0], given=("image", "albedo"), wanted=("albedo", "depth")),)
    config = dataclasses.replace(config, data=both)
    before = train(config).stage
    graft, start = tmp_path / "graft", tmp_path / "start"
    for command in (
        ["graft", "--estimate", config.output, "--out", graft, "--layers", ""],
        ["ungraft", "--base", graft / "base", "--adapter", graft / "team.safetensors", "--out", start],
    ):
        run([sys.executable, "-m", f"engine_server.train.{command[0]}", *map(str, command[1:])], check=True, cwd=ROOT)
    (facts, found), (own, made) = (read_wide(Path(folder) / "wide.safetensors") for folder in (start, config.output))
    assert facts == own and set(found) == set(made) == {"weight", "bias", "entry"}
    assert all(torch.allclose(found[name], made[name], atol=1e-6) for name in made)
    again = stage_for(dataclasses.replace(config, base=str(start), output=str(tmp_path / "again")))
    assert losses_of(again) == pytest.approx(losses_of(before), rel=1e-4)


def test_a_run_goes_on_with_the_wide_layer_beside_its_base(config, tmp_path):
    first = train(config).stage
    again = stage_for(dataclasses.replace(config, base=config.output, output=str(tmp_path / "again")))
    assert losses_of(again) == pytest.approx(losses_of(first), rel=1e-5)
    other = dataclasses.replace(config.data[0], wanted=("depth",))
    with pytest.raises(ConfigError, match="is for albedo,depth; this run takes image and wants depth"):
        stage_for(dataclasses.replace(config, base=config.output, output=str(tmp_path / "other"), data=(other,)))


def test_the_mean_of_roots_counts_each_picture_once():
    square = torch.rand(2, 3, 4, 5, 5)
    weight = torch.tensor([0.5, 1.5])[:, None, None, None, None]
    expected = sum(
        float(weight[row]) * (float(square[row, image].mean()) + 1e-3) ** 0.5 for row in range(2) for image in range(3)
    )
    assert float(mean_error(square, weight, "rmse")) == pytest.approx(expected / 6, rel=1e-5)
    assert float(mean_error(square, weight, "square")) == pytest.approx(float((square * weight).mean()), rel=1e-6)


def test_a_teacher_answers_where_the_batch_lies(config, monkeypatch):
    train(dataclasses.replace(config, steps=1))
    monkeypatch.setattr(estimate, "from_zero", lambda base, rows: torch.zeros(len(rows), 2 * base.channels, *rows.shape[2:]))
    latents = {name: torch.zeros(1, 4, 4, 4, device="meta") for name in ("image", "albedo", "depth")}
    taught = Teacher(Path(config.output), "cpu").taught(Batch(latents)).latents
    assert {rows.device.type for rows in taught.values()} == {"meta"}


@pytest.mark.parametrize("packed", [False, True])
def test_a_sample_without_what_is_given_is_named_before_it_begins(config, tmp_path, packed):
    folder = write_samples(tmp_path / "samples")
    (folder / "3" / "flash.png").unlink()
    place = folder / "3"
    if packed:
        place = tmp_path / "packs"
        write_pack(place / "0.safetensors", [{"albedo": np.zeros((32, 32, 3), np.uint8)}])
    data = (dataclasses.replace(config.data[0], folder=str(place if packed else folder)),)
    with pytest.raises(ConfigError, match=f"{place} has no picture of image: the stage estimate needs each channel of `given`"):
        stage_for(dataclasses.replace(config, data=data))


def test_mistakes_get_a_sentence(config, tmp_path):
    data = dataclasses.replace(config.data[0], given=())
    with pytest.raises(ConfigError, match="needs `given` with the same first channel"):
        EstimateStage(dataclasses.replace(config, data=(data,)))
    with pytest.raises(ConfigError, match="not a result of the stage estimate"):
        Teacher(tmp_path, "cpu")
    with pytest.raises(ConfigError, match="expected square or rmse"):
        stage_for(dataclasses.replace(config, options={"error": "cubic"}))
    with pytest.raises(ConfigError, match="emphasis names 'normals', which is no output; the outputs are albedo, depth"):
        stage_for(dataclasses.replace(config, options={"emphasis": {"normals": 2.0}}))
    noisy = tiny_base("SD2", tmp_path / "noisy")
    with pytest.raises(ConfigError, match="needs flow matching"):
        EstimateStage(dataclasses.replace(config, base=str(noisy)))
    transformer = tiny_base("SD3", tmp_path / "transformer")
    with pytest.raises(ConfigError, match="needs a UNet"):
        EstimateStage(dataclasses.replace(config, base=str(transformer)))


def autoencoder(levels: int) -> AutoencoderDC:
    widths = [16, 16, 64] if levels == 2 else [16, 16, 64, 256]
    layers, none = [0] + [1] * levels, [[]] * (levels + 1)
    return AutoencoderDC.from_config(
        {"in_channels": 3, "latent_channels": 3 * 4**levels, "encoder_block_out_channels": widths, "decoder_block_out_channels": widths,
         "encoder_layers_per_block": layers, "decoder_layers_per_block": layers, "encoder_qkv_multiscales": none,
         "decoder_qkv_multiscales": none, "downsample_block_type": "conv", "encoder_out_shortcut": False, "decoder_in_shortcut": False}
    )  # fmt: skip


@pytest.mark.parametrize("levels", [2, 3])
def test_with_all_principal_components_an_autoencoder_loses_nothing(levels):
    torch.manual_seed(0)
    coarse = torch.rand(64, 3, 8, 8) * 1.6 - 0.8 + torch.tensor([0.3, 0.0, -0.2])[:, None, None]
    images = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear").clamp(-1, 1)
    vae = autoencoder(levels)
    start_from_components(vae, images)
    with torch.no_grad():
        latents = vae.encode(images).latent
        back = vae.decode(latents).sample
    assert (back - images).abs().max() < 0.03
    mean, directions, variance = components(patches(images, levels))
    expected = (patches(images, levels) - mean) @ directions.T * variance**-0.25
    assert torch.allclose(latents.movedim(1, -1).flatten(0, -2), expected, atol=0.02 * float(expected.abs().max()))
