# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects training on every base: what it learns to predict at which noise, with checkpointing, with every ablation."""

import dataclasses

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine_server.diffusion.loading import load_base
from engine_server.teamwork import load_team
from engine_server.teamwork.config import TeamError
from engine_server.train.errors import ConfigError
from engine_server.train.objectives import Diffusion, Flow, objective_for
from engine_server.train.team import stage_for

from .test_weights import write_gguf
from .tiny import FAMILIES, tiny_base, wide_sd3
from .training import team_config, train


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return {family: tiny_base(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


def gradients(stage, number=0):
    """Of one batch, after a few steps have made `up` more than zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in stage.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    stage.loss(number).backward()
    return [p.grad for p in stage.parameters()]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_base_learns_and_its_file_loads(samples, bases, tmp_path, family):
    config = team_config(samples, bases[family], tmp_path, steps=60, network={"profile": family})
    del config.network["profile"]
    stage = stage_for(config)
    assert stage.team.profile == family  # as nothing else is said
    frozen = {n: p.clone() for n, p in stage.base.network.named_parameters() if ".adapter." not in n}
    fixed = [stage.loss(n).item() for n in range(9000, 9016)]
    trained = train(config)
    assert np.mean([trained.stage.loss(n).item() for n in range(9000, 9016)]) < np.mean(fixed)
    assert all(p.grad is not None and torch.isfinite(p).all() for p in trained.params)
    for name, parameter in trained.stage.base.network.named_parameters():
        assert name not in frozen or torch.equal(parameter, frozen[name])
    team = load_team(bases[family], tmp_path / "team.safetensors")
    photo = np.random.default_rng(0).random((16, 16, 3), np.float32)
    assert set(team.run({"image": photo}, steps=2)) == {"albedo", "depth"}


@pytest.mark.parametrize("profile", [*FAMILIES, "SD3_PLUSATTN"])
def test_checkpointing_changes_no_gradient(samples, bases, tmp_path, profile):
    config = team_config(samples, bases[profile.removesuffix("_PLUSATTN")], tmp_path, network={"profile": profile})
    plain = gradients(stage_for(config))
    spared = gradients(stage_for(dataclasses.replace(config, checkpointing=True)))
    assert all(torch.equal(a, b) for a, b in zip(plain, spared, strict=True))
    assert any(g.any() for g in plain)


@pytest.mark.parametrize("family", ["SD3", "FLUX", "SDXL"])
def test_a_base_in_bfloat16_trains_adapters_in_float32(samples, bases, tmp_path, family):
    network = {"profile": family}
    config = team_config(samples, bases[family], tmp_path, steps=3, network=network, precision="bfloat16", checkpointing=True)
    trained = train(config)
    assert trained.stage.base.dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in trained.params)
    assert all(t.dtype == torch.float32 for t in load_file(tmp_path / "team.safetensors").values())
    full = stage_for(dataclasses.replace(config, precision="float32"))
    with torch.no_grad():
        losses = [stage.loss(0).item() for stage in (full, stage_for(dataclasses.replace(config, weights="float32")))]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize("weights", ["int8", "gguf"])
def test_adapters_train_on_a_quantised_base(samples, tmp_path, weights):
    (tmp_path / "wide").mkdir()
    base = wide_sd3(tmp_path / "wide")
    write_gguf(base, tmp_path / "q8.gguf")
    options = {"gguf": {"network": str(tmp_path / "q8.gguf")}, "int8": {"quantization": "int8"}}[weights]
    config = team_config(samples, base, tmp_path / "run", steps=20, precision="bfloat16", options=options)
    stage = stage_for(config)
    packed = {"gguf": "GGUFParameter", "int8": "Int8Tensor"}[weights]
    assert type(stage.base.network.transformer_blocks[0].attn.to_q.weight).__name__ == packed
    made = torch.cat([g.flatten() for g in gradients(stage)])
    expected = torch.cat([g.flatten() for g in gradients(stage_for(dataclasses.replace(config, options={})))])
    assert torch.nn.functional.cosine_similarity(made, expected, dim=0) > 0.99
    trained = train(config)
    assert all(torch.isfinite(p).all() for p in trained.params) and trained.params[0].grad.any()


def test_the_file_can_be_saved_in_half_precision(samples, bases, tmp_path):
    train(team_config(samples, bases["SD3"], tmp_path, steps=2, options={"saved": "bfloat16"}))
    assert {t.dtype for t in load_file(tmp_path / "team.safetensors").values()} == {torch.bfloat16}


# What is predicted at which noise


def latents(seed):
    return torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_diffusion_is_that_of_diffusers(prediction):
    reference = diffusers.DDPMScheduler(prediction_type=prediction)
    objective = Diffusion(reference.alphas_cumprod, prediction)
    clean, noise, times = latents(0), latents(1), torch.tensor([0, 500, 999])
    level = times[:, None, None, None]
    torch.testing.assert_close(objective.noised(clean, noise, level), reference.add_noise(clean, noise, times))
    wanted = {"epsilon": noise, "sample": clean, "v_prediction": reference.get_velocity(clean, noise, times)}[prediction]
    torch.testing.assert_close(objective.target(clean, noise, level), wanted)


def test_times_are_drawn_from_all_that_there_are():
    objective = Diffusion(torch.linspace(0.99, 0.01, 10), "epsilon")
    times, highest = objective.draw(20_000, 0.0, torch.Generator().manual_seed(0))
    counts = torch.bincount(times, minlength=10)
    assert len(counts) == 10 and (counts > 1800).all() and torch.equal(highest, times == 9)
    assert objective.draw(100, 1.0, torch.Generator())[1].all()


@pytest.mark.parametrize("unit", [False, True])
def test_the_weight_of_x0_is_as_published(unit):
    """sigma^-2 ("sigma_sqrt") or 1 ("unit") times the squared error of x0 = x - sigma v."""
    objective = Flow(shift=3.0, unit=unit)
    clean, noise, answer = latents(0), latents(1), latents(2)
    sigma, _ = objective.draw(3, 0.0, torch.Generator().manual_seed(0))
    level = sigma[:, None, None, None]
    x0 = objective.noised(clean, noise, level) - level * answer
    expected = (x0 - clean).square() * (1.0 if unit else level**-2)
    made = (answer - objective.target(clean, noise, level)).square() * objective.weight(level)
    torch.testing.assert_close(made, expected, rtol=1e-3, atol=1e-3)


def test_other_schedulers_of_flows_train_alike_and_unknown_ones_are_one_sentence(tmp_path):
    base = load_base(tiny_base("SD3", tmp_path))
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    for base.template in (diffusers.FlowMatchHeunDiscreteScheduler(shift=3.0), diffusers.UniPCMultistepScheduler(**flow)):
        objective = objective_for(base, "auto")
        assert isinstance(objective, Flow) and objective.shift == 3.0
    base.template = diffusers.EDMEulerScheduler()
    with pytest.raises(ConfigError, match="unknown kind, EDMEulerScheduler: teams train on flow"):
        objective_for(base, "auto")


def test_noise_levels_follow_the_schedulers_fixed_shift():
    reference = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    sigmas, highest = Flow(3.0).draw(50_000, 0.0, torch.Generator().manual_seed(0))
    assert sigmas.quantile(torch.tensor([0.1, 0.5, 0.9])) == pytest.approx(
        reference.sigmas.quantile(torch.tensor([0.1, 0.5, 0.9])), abs=0.01
    )
    assert not highest.any() and Flow(3.0).draw(9, 1.0, torch.Generator())[0].eq(1).all()


def test_each_base_has_its_objective(bases):
    made = {family: objective_for(load_base(bases[family]), "auto") for family in FAMILIES}
    assert {family for family, one in made.items() if isinstance(one, Diffusion)} == {"SD2", "SDXL"}
    assert {family for family, one in made.items() if getattr(one, "unit", False)} == {"FLUX", "FLUX2"}
    assert made["SD3"].shift == 3.0 and made["FLUX"].shift == 1.0  # FLUX shifts by size, when it samples
    with pytest.raises(ConfigError, match="weighting 'unit' is for flow matching"):
        objective_for(load_base(bases["SD2"]), "unit")


def test_offset_noise_moves_whole_channels(samples, bases, tmp_path):
    clean = torch.zeros(3, 2, 4, 32, 32)
    spread = {}
    for strength in (0.0, 0.1, 1.0):
        stage = stage_for(team_config(samples, bases["SD3"], tmp_path, options={"offset_noise": strength}))
        draws = [stage._noise(clean, torch.Generator().manual_seed(seed), 0.0)[1].mean((-1, -2)) for seed in range(40)]
        spread[strength] = float(torch.stack(draws).std())
    assert spread[0.0] == pytest.approx(1 / 32, rel=0.1)
    assert spread[0.1] == pytest.approx((0.1**2 + 32**-2) ** 0.5, rel=0.1) and spread[1.0] == pytest.approx(1.0, rel=0.1)


# Ablations


def test_without_communication_a_teammate_learns_alone(samples, bases, tmp_path):
    moved = {}
    for communication in (True, False):
        network = {"communication": communication}
        config = team_config(samples, bases["SD3"], tmp_path / str(communication), steps=3, network=network)
        train(config)
        team = load_team(bases["SD3"], tmp_path / str(communication) / "team.safetensors")
        assert team.config.communication is communication
        photos = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
        answers = [team.run({"image": photo}, ["albedo"], steps=2)["albedo"] for photo in photos]
        moved[communication] = np.abs(answers[0] - answers[1]).max()
    assert moved[True] > 0 and moved[False] == 0  # nothing of the photo reaches a row that keeps its hidden vector to itself


@pytest.mark.parametrize("rank", [1, 64])
def test_the_rank_is_the_configured_one(samples, bases, tmp_path, rank):
    train(team_config(samples, bases["SD3"], tmp_path, steps=2, network={"rank": rank}))
    tensors = load_file(tmp_path / "team.safetensors")
    assert {t.shape[2] for n, t in tensors.items() if n.endswith("down")} == {rank}
    assert load_team(bases["SD3"], tmp_path / "team.safetensors").config.rank == rank


def test_without_biases(samples, bases, tmp_path):
    train(team_config(samples, bases["SD3"], tmp_path, steps=2, network={"use_bias": False}))
    assert not [n for n in load_file(tmp_path / "team.safetensors") if n.endswith("bias")]


@pytest.mark.parametrize("teammates", [("image.in", "albedo.out"), ("albedo.out",)])
def test_a_single_output(samples, bases, tmp_path, teammates):
    config = team_config(samples, bases["SD3"], tmp_path, steps=2, network={"teammates": teammates})
    if "image.in" not in teammates:
        config = dataclasses.replace(config, data=(dataclasses.replace(config.data[0], rename={}),))
    train(config)
    team = load_team(bases["SD3"], tmp_path / "team.safetensors")
    given = {"image": np.zeros((16, 16, 3), np.float32)} if "image.in" in teammates else {}
    assert list(team.run(given, steps=2, height=16, width=16)) == ["albedo"]


def test_a_team_that_cannot_be_gets_a_sentence(samples, bases, tmp_path):
    for network, error, words in (
        ({"rank": 0}, TeamError, "rank is 0"),
        ({"ranks": 3}, ConfigError, r"\[network\]: unknown key 'ranks'"),
        ({"rank": "many"}, ConfigError, "rank is 'many'; expected a whole number"),
        ({"profile": "FLUX"}, TeamError, "FLUX"),
    ):
        with pytest.raises(error, match=words):
            stage_for(team_config(samples, bases["SD3"], tmp_path, network=network))
