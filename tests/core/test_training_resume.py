# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects what hours of training are worth: a resume equals the straight run bit for bit, and no crash loses a save."""

import dataclasses
import random
import resource
import signal
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine_server.__main__ import main
from engine_server.train.config import DataSet, TrainConfig
from engine_server.train.errors import ConfigError, SaveError
from engine_server.train.loop import STATE, Trainer
from engine_server.train.state import read_state, write_state
from engine_server.train.team import stage_for
from engine_server.train.told import PARTS, another, changes, settings_of

from .tiny import tiny_base
from .training import flow_unet, start, team_config, train, write_config


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base("SD3", tmp_path_factory.mktemp("base"))


def same(first, second):
    """Whether two folders hold the same adapter, bit for bit."""
    a, b = (load_file(folder / "team.safetensors") for folder in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def halt(config, steps):
    """Train until so many steps are done, as a signal would stop it."""
    trainer = Trainer(config, stage_for(config), lambda line: None)
    trainer._agree, agree = lambda seconds: (agree(seconds), trainer.step >= steps and trainer.stop()), trainer._agree
    trainer.run()
    assert trainer.step == steps


@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": "prodigy", "learning_rate": 1.0, "accumulate": 2}, {"precision": "bfloat16", "checkpointing": True}],
    ids=["adamw", "prodigy", "bfloat16"],
)
def test_thirty_steps_and_thirty_more_equal_sixty(samples, base, tmp_path, changes):
    config = team_config(samples, base, tmp_path / "straight", steps=60, warmup=5, **changes)
    train(config)
    halves = dataclasses.replace(config, output=str(tmp_path / "halves"))
    halt(halves, 30)
    assert not same(tmp_path / "straight", tmp_path / "halves")
    train(halves)
    assert same(tmp_path / "straight", tmp_path / "halves")
    states = [read_state(tmp_path / half / STATE).optimizer for half in ("straight", "halves")]
    assert states[0]["param_groups"] == states[1]["param_groups"]


class Moody:
    """A stage whose loss draws from every generator that a network or a data set could draw from."""

    def __init__(self):
        self.weight = torch.nn.Parameter(torch.zeros(3))

    def parameters(self):
        return [self.weight]

    def loss(self, number):
        target = torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))])
        return (self.weight - target).square().sum()

    def save(self, folder):
        pass


def test_the_generators_of_python_numpy_and_torch_are_where_they_would_have_been(tmp_path):
    settings = {"optimizer": "adamw", "learning_rate": 0.1, "tensorboard": False, "precision": "float32", "accumulate": 2}
    results = []
    for cuts in ((), (3, 7)):
        config = TrainConfig("team", str(tmp_path / str(len(cuts))), (), {}, steps=10, **settings)
        for last in (*cuts, 10):
            stage = Moody()
            trainer = Trainer(config, stage, lambda line: None)
            trainer._agree, agree = lambda s, t=trainer, n=last, a=trainer._agree: (a(s), t.step >= n and t.stop()), None
            trainer.run()
            random.seed(0), np.random.seed(0), torch.manual_seed(0)  # as another process would find them
        results.append(stage.weight.detach().clone())
    assert torch.equal(*results)


def wait_for_step(folder, step, process):
    """Until a state of at least this step is on the disk."""
    while not (folder / STATE).exists() or read_state(folder / STATE).step < step:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def test_killed_between_two_saves_it_goes_on_from_the_last_whole_one(samples, base, tmp_path):
    config = team_config(samples, base, tmp_path / "straight", steps=200)
    train(config)
    killed = dataclasses.replace(config, output=str(tmp_path / "killed"))
    process = start(write_config(dataclasses.replace(killed, save_every=7), tmp_path / "killed.toml"))
    wait_for_step(tmp_path / "killed", 14, process)
    process.kill()
    process.communicate()
    assert read_state(tmp_path / "killed" / STATE).step % 7 == 0
    train(killed)
    assert same(tmp_path / "straight", tmp_path / "killed")


def test_a_signal_saves_and_says_how_to_go_on(samples, base, tmp_path):
    config = team_config(samples, base, tmp_path / "run", steps=100_000, save_every=5)
    process = start(write_config(config, tmp_path / "c.toml"))
    wait_for_step(tmp_path / "run", 50, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    step = read_state(tmp_path / "run" / STATE).step
    assert process.returncode == 130 and f"stopped at step {step}; run the same command" in out, err
    assert "\nstep 50  loss" in out and "\r" not in out + err  # lines, no bar: this is no terminal


def test_a_full_disk_leaves_the_old_checkpoint_whole(samples, base, tmp_path):
    config = team_config(samples, base, tmp_path / "run", steps=4, save_every=2)
    train(config)
    before = {f.name: f.read_bytes() for f in (tmp_path / "run").iterdir()}
    path = write_config(dataclasses.replace(config, steps=8), tmp_path / "c.toml")
    limit = len(before["team.safetensors"]) // 2
    process = start(path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    out, err = process.communicate()
    assert process.returncode == 2 and "resumed at step 4" in out
    assert "cannot be saved at step 6" in err and "whole" in err and "Traceback" not in err
    after = {f.name: f.read_bytes() for f in (tmp_path / "run").iterdir()}
    assert after == before
    train(dataclasses.replace(config, steps=8))
    assert read_state(tmp_path / "run" / STATE).step == 8


def test_a_state_that_was_not_written_whole_never_takes_the_place_of_one_that_was(samples, base, tmp_path):
    config = team_config(samples, base, tmp_path, steps=2)
    trainer = train(config)
    before = (tmp_path / STATE).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "team.safetensors").stat().st_size + 1000, hard))
    try:
        with pytest.raises(SaveError, match="cannot be saved"):  # the adapter fits, the larger state does not
            trainer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / STATE).read_bytes() == before and not list(tmp_path.glob("*.partial"))


def test_a_disk_that_is_full_between_saves_gets_a_sentence(samples, base, tmp_path):
    trainer = Trainer(team_config(samples, base, tmp_path, steps=50), stage_for(team_config(samples, base, tmp_path)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(SaveError, match="cannot go on at step 50"):  # a line of the log does not fit
            trainer.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_before_the_first_step_gets_a_sentence(samples, base, tmp_path):
    path = write_config(team_config(samples, base, tmp_path / "run"), tmp_path / "c.toml")
    process = start(path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)))
    _, err = process.communicate()
    assert process.returncode == 2 and "cannot begin" in err and "make room" in err and len(err.strip().splitlines()) == 1, err
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file != path]


@pytest.mark.parametrize("stage", ["team", "estimate"])
def test_an_output_that_cannot_be_a_folder_gets_a_sentence(samples, base, tmp_path, capsys, stage):
    (tmp_path / "file").write_text("")
    config = team_config(samples, base, tmp_path / "file" / "run", stage=stage)
    if stage == "estimate":
        data = (dataclasses.replace(config.data[0], given=("image",), wanted=("albedo",)),)
        config = dataclasses.replace(config, base=str(flow_unet(tmp_path / "base")), network={}, data=data)
    assert main(["train", str(write_config(config, tmp_path / "c.toml"))]) == 2
    out, err = capsys.readouterr()
    assert "encoding" not in out  # which may take hours
    assert f"{tmp_path / 'file'}" in err and "cannot begin" in err and len(err.strip().splitlines()) == 1, err


def test_a_state_of_another_run_gets_a_sentence(samples, base, tmp_path):
    config = team_config(samples, base, tmp_path, steps=1)
    train(config)
    with pytest.raises(ConfigError, match="of a run with adamw; choose another output, or begin anew with --fresh"):
        train(dataclasses.replace(config, optimizer="prodigy"))
    with pytest.raises(ConfigError, match="network of other sizes"):
        train(team_config(samples, base, tmp_path, steps=1, network={"rank": 2}))
    (tmp_path / STATE).write_bytes((tmp_path / STATE).read_bytes()[:1000])
    with pytest.raises(ConfigError, match="not a whole state"):
        train(config)
    assert train(dataclasses.replace(config, resume=False)).step == 1


def test_what_is_set_otherwise_is_said(samples, base, tmp_path):
    config = team_config(samples, base, tmp_path, steps=2)
    train(config)
    said = []
    further = dataclasses.replace(config, steps=3, clip=0.5)
    Trainer(further, stage_for(further), said.append).run()
    assert said[0] == "resumed at step 2 (set otherwise: steps was 2, clip was 1.0)"


def test_weights_of_other_teammates_bases_and_stages_are_not_taken_up(samples, base, tmp_path):
    """They lie in the state by number: albedo's would go on as depth's."""
    config = team_config(samples, base, tmp_path / "run", steps=1)
    train(config)
    further = dataclasses.replace(config, steps=2)
    swapped = team_config(samples, base, tmp_path / "run", steps=2, network={"teammates": ("image.in", "depth.out", "albedo.out")})
    with pytest.raises(ConfigError, match="with the teammates image.in, albedo.out, depth.out; choose another output, or begin anew"):
        train(swapped)
    other = tiny_base("SD3", tmp_path / "other")
    with pytest.raises(ConfigError, match=f"on the base {base}; choose another output"):
        train(dataclasses.replace(further, base=str(other)))
    moved = base.rename(base.with_name("moved"))
    said = []
    Trainer(dataclasses.replace(further, base=str(moved)), stage_for(dataclasses.replace(further, base=str(moved))), said.append).run()
    assert f"base was {base}" in said[0]
    moved.rename(base)
    stage = stage_for(further)
    with pytest.raises(ConfigError, match="of the stage team; choose another output"):
        Trainer(dataclasses.replace(further, stage="joint", options={"teams": ("a.toml",)}), stage, lambda line: None).run()
    assert train(dataclasses.replace(swapped, resume=False)).step == 2


def test_what_an_estimate_reads_and_answers_is_who_its_weights_are_of(tmp_path):
    config = TrainConfig("estimate", str(tmp_path), (DataSet("x", given=("image",), wanted=("albedo", "depth")),), {}, base="b")
    again = dataclasses.replace(config, data=(DataSet("y", given=("image",), wanted=("depth",)), DataSet("y", wanted=("albedo",))))
    assert another(settings_of(config), settings_of(again)) == ""
    other = dataclasses.replace(config, data=(DataSet("x", given=("image",), wanted=("albedo", "normals")),))
    assert another(settings_of(config), settings_of(other)) == "with the teammates image.in, albedo.out, depth.out"


def test_changed_options_and_data_are_said_and_states_without_them_go_on(samples, base, tmp_path):
    config = team_config(samples, base, tmp_path, steps=1)
    train(config)
    data = (dataclasses.replace(config.data[0], weight=2.0),)
    further = dataclasses.replace(config, steps=2, options={"keep": 0.7}, data=data)
    said = []
    Trainer(further, stage_for(further), said.append).run()
    assert said[0] == "resumed at step 1 (set otherwise: steps was 1, options.keep was not set, data.1.weight was 1.0)"
    more = settings_of(dataclasses.replace(further, data=(*data, DataSet("more"))))
    assert changes(settings_of(further), more) == " (set otherwise: data.2.folder was not set)"
    assert changes(more, settings_of(further)) == " (set otherwise: data.2.folder was more)"
    state = read_state(tmp_path / STATE)
    write_state(tmp_path / STATE, dataclasses.replace(state, settings={k: v for k, v in state.settings.items() if k not in PARTS}))
    assert train(dataclasses.replace(further, steps=3)).step == 3


@pytest.mark.parametrize("optimizer", ["adamw", "prodigy"])
def test_another_weight_decay_holds_from_the_resume_on(samples, base, tmp_path, optimizer):
    config = team_config(samples, base, tmp_path, steps=1, optimizer=optimizer, weight_decay=0.01)
    train(config)
    further = dataclasses.replace(config, steps=2, weight_decay=0.5)
    said = []
    trainer = Trainer(further, stage_for(further), said.append)
    trainer.run()
    assert "weight_decay was 0.01" in said[0] and all(group["weight_decay"] == 0.5 for group in trainer.optimizer.param_groups)
