# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the published recipe: its numbers are the defaults, the optimiser reads the schedule, and 200 steps of it learn."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from prodigyopt import Prodigy

from engine_server.__main__ import main
from engine_server.teamwork import load_team
from engine_server.train.base import require_base
from engine_server.train.config import DataSet, TrainConfig, load_config
from engine_server.train.errors import ConfigError
from engine_server.train.loop import Trainer, cosine, make_optimizer
from engine_server.train.options import TeamOptions, options_of
from engine_server.train.team import RANK, stage_for

from .tiny import tiny_base
from .training import ROOT, team_config, write_config

RECIPES = sorted((ROOT / "engine_server" / "bundled" / "nano" / "recipe").rglob("*.toml"))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base("SD3", tmp_path_factory.mktemp("base"))


def test_the_published_numbers_are_the_defaults():
    config = TrainConfig("team", "out", (), {})
    assert config.steps * config.accumulate * config.batch == 64_000 and config.accumulate == 16
    assert (config.optimizer, config.learning_rate, config.schedule, config.warmup) == ("prodigy", 1.0, "cosine", 0)
    assert (config.weight_decay, config.clip, config.precision, TeamOptions().offset_noise) == (1e-4, 1.0, "bfloat16", 0.1)
    optimizer = make_optimizer(config, [torch.nn.Parameter(torch.zeros(2))])
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, Prodigy) and group["safeguard_warmup"] and group["use_bias_correction"]
    assert group["weight_decay"] == 1e-4 and group["decouple"]


@pytest.mark.parametrize("optimizer", ["prodigy", "adamw"])
def test_the_optimiser_reads_the_schedule(samples, base, tmp_path, optimizer):
    rate = 1.0 if optimizer == "prodigy" else 1e-6
    moved = {}
    for schedule in ("constant", "cosine"):
        settings = {"steps": 5, "schedule": schedule, "optimizer": optimizer, "learning_rate": rate, "weight_decay": 0.0}
        config = team_config(samples, base, tmp_path / schedule, **settings)
        trainer = Trainer(config, stage_for(config), lambda line: None)
        before = [p.detach().clone() for p in trainer.params]
        for _ in range(4):
            trainer._optimizer_step()
            trainer.step += 1
        between = [p.detach().clone() for p in trainer.params]
        trainer._optimizer_step()
        moved[schedule] = [
            math.sqrt(sum(float((a - b).detach().double().square().sum()) for a, b in zip(*pair, strict=True)))
            for pair in ((before, between), (between, trainer.params))
        ]
    assert moved["cosine"][0] < moved["constant"][0]
    assert moved["cosine"][1] / moved["constant"][1] == pytest.approx(cosine(4 / 5), rel=0.05)


def test_warm_up_rises_to_the_rate(samples, base, tmp_path):
    config = team_config(samples, base, tmp_path, steps=1000, warmup=4, learning_rate=2.0)
    trainer = Trainer(config, stage_for(config), lambda line: None)
    rates = []
    for trainer.step in range(6):
        rates.append(trainer.rate())
    assert rates[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0], rel=1e-3) and rates[5] < 2.0


def test_two_hundred_steps_of_the_command_learn(samples, base, tmp_path, capsys):
    """The recipe as it is, but for the size of pictures and the number of steps."""
    text = f"""
stage = "team"
base = "{base}"
output = "{tmp_path / "run"}"
steps = 200
accumulate = 2
crop = 16
samples = 1
sample_steps = 2
[network]
teammates = ["image.in", "albedo.out", "depth.out"]
[[data]]
folder = "{samples}"
rename = {{ flash = "image" }}
"""
    (tmp_path / "c.toml").write_text(text)
    assert main(["train", str(tmp_path / "c.toml")]) == 0
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 4 and losses[3] < 0.9 * losses[0]
    assert "step 200  loss" in capsys.readouterr().out
    team = load_team(base, tmp_path / "run" / "team.safetensors")
    photo = np.zeros((16, 16, 3), np.float32)
    assert np.isfinite(team.run({"image": photo}, "albedo", steps=2)["albedo"]).all()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_bundled_recipes_are_whole_and_keep_their_own_numbers(recipe):
    config = load_config(recipe)
    assert config.accumulate == 1
    if config.steps > 1:
        assert config.optimizer == "adamw" and config.minutes > 0 and config.warmup >= 50
    options = options_of(config)
    if config.stage == "team":
        assert options.offset_noise == 0 and options.zero_start and config.weights == "float32"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; expected prodigy or adamw"),
        ({"schedule": "linear"}, "schedule is 'linear'; expected cosine or constant"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected a number above 0"),
        ({"steps": 2.5}, "steps is 2.5; expected a whole number"),
        ({"resume": 1}, "resume is 1; expected true or false"),
        ({"precision": "float32", "weights": "bfloat16"}, "a coarser base needs precision"),
        ({"options": {"keeep": 0.5}}, r"\[options\] of the stage team: unknown key 'keeep'"),
        ({"options": {"keep": 1.5}}, "options.keep is 1.5; expected a number from 0 to 1"),
        ({"options": {"sizes": [[16]]}}, "expected pairs of crop and batch"),
        ({"options": {"weighting": "x"}}, "options.weighting is 'x'"),
        ({"device": "cuda:99"}, "The device 'cuda:99' is not there"),
    ],
)
def test_a_wrong_value_is_one_sentence_of_the_command(samples, base, tmp_path, capsys, changes, words):
    path = write_config(team_config(samples, base, tmp_path / "run", **changes), tmp_path / "c.toml")
    assert main(["train", str(path)]) == 2
    said = capsys.readouterr().err
    with pytest.raises(ConfigError, match=words):
        raise ConfigError(said)
    assert len(said.strip().splitlines()) == 1 and not (tmp_path / "run" / "team.safetensors").exists()


def test_a_base_that_is_not_there_names_the_step_before(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recipe = next(path for path in RECIPES if path.parent.name == "cpu" and path.stem == "2_materials")
    assert main(["train", str(recipe)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("There is no folder runs/nano/vae, the `base` of ") and said.count("\n") == 1
    assert f"train {recipe.parents[1] / '1_vae.toml'} first" in said and "huggingface" not in said


@pytest.mark.parametrize("place", ["./gone", "runs/gone", "a/b/gone", "stabilityai/stable-diffusion-2", "here"])
def test_a_base_is_a_path_or_a_name_of_the_hub(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir(), (tmp_path / "here").mkdir()
    if "gone" not in place:
        require_base(place, tmp_path / "c.toml")
        return
    with pytest.raises(ConfigError, match="first take the step before, which makes it, or name a folder that is there"):
        require_base(place, tmp_path / "c.toml")


def test_a_base_without_an_autoencoder_is_one_sentence(samples, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    network = {"block_out_channels": [8, 16], "cross_attention_dim": 8}
    config = team_config(samples, tmp_path / "empty", tmp_path / "run", stage="base", data=(DataSet(str(samples)),))
    path = write_config(dataclasses.replace(config, network=network), tmp_path / "c.toml")
    assert main(["train", str(path)]) == 2
    said = capsys.readouterr().err
    assert "of which no autoencoder can be loaded" in said and "with the stage vae" in said and said.count("\n") == 1


def test_a_gradient_that_is_not_finite_stops_the_run_with_a_sentence(samples, base, tmp_path):
    config = team_config(samples, base, tmp_path, steps=3)
    stage = stage_for(config)
    loss = stage.loss
    stage.loss = lambda number: loss(number) * (float("nan") if number else 1.0)
    with pytest.raises(ConfigError, match="The gradient of step 2 is not finite"):
        Trainer(config, stage, lambda line: None).run()


def test_every_option_stands_in_the_guide_with_its_default():
    """docs/TRAINING.md lists what the code takes: no more, no less, each with its default."""
    guide = (Path(ROOT) / "docs" / "TRAINING.md").read_text("utf-8")
    rows = [line.split("|")[1:-1] for line in guide.splitlines() if line.startswith("| `")]
    listed = {row[0].strip(" `"): row[1].strip(" `") for row in rows}
    assert listed == dict(_options())


USUAL = {"network.rank": str(RANK), "network.profile": "the base's", "network.base_model": "the base"}


def _options():
    from engine_server.teamwork.config import TeamConfig
    from engine_server.train.options import BaseOptions, EstimateOptions, JointOptions, UnisonOptions, VaeOptions

    kinds = {"": TrainConfig, "data.": DataSet, "network.": TeamConfig, "options.": TeamOptions}
    kinds |= {"options (vae).": VaeOptions, "options (base).": BaseOptions}
    kinds |= {"options (estimate).": EstimateOptions, "options (unison).": UnisonOptions, "options (joint).": JointOptions}
    for prefix, kind in kinds.items():
        for field in dataclasses.fields(kind):
            if prefix or field.name not in ("data", "validation", "network", "options"):
                yield prefix + field.name, USUAL.get(prefix + field.name, _default(field))


def _default(field):
    if field.default_factory is not dataclasses.MISSING:
        return "{}"
    if field.default is dataclasses.MISSING:
        return "required"
    return json.dumps(field.default)
