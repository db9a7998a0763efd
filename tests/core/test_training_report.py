# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects what a run shows: losses and pictures in TensorBoard, a log that survives cuts, a bar on a terminal."""

import dataclasses
import json
import os
import pty
import subprocess
import sys
import termios

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from engine_server.teamwork.checkpoint import read_checkpoint
from engine_server.train.config import DataSet
from engine_server.train.loop import Trainer
from engine_server.train.team import stage_for

from .tiny import tiny_base
from .training import ROOT, team_config, train, write_config, write_samples


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base("SD3", tmp_path_factory.mktemp("base"))


def events(folder):
    """All that TensorBoard would show of a run."""
    board = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    return board.Reload()


def test_losses_rates_and_pictures_are_in_tensorboard(samples, base, tmp_path):
    validation = (DataSet(str(samples), rename={"flash": "image"}, limit=2),)
    shown = {"tensorboard": True, "samples": 2, "sample_steps": 2, "validation": validation}
    prodigy = {"optimizer": "prodigy", "learning_rate": 1.0}
    config = team_config(samples, base, tmp_path, steps=6, save_every=3, **shown, **prodigy)
    trainer = train(config)
    board = events(tmp_path)
    assert [e.value for e in board.Scalars("loss/train")] == pytest.approx(trainer.losses, rel=1e-6)
    rates = [e.value for e in board.Scalars("rate")]
    assert rates[0] == 1.0 and rates == sorted(rates, reverse=True) and rates[-1] < 0.1
    assert [e.step for e in board.Scalars("loss/validation")] == [3, 6]
    assert len(board.Scalars("prodigy d")) == len(board.Scalars("gradient norm")) == 6
    assert sorted(board.Tags()["images"]) == ["samples/0", "samples/1"]
    second = board.Images("samples/1")
    assert [e.step for e in second] == [3, 6]
    assert (second[0].width, second[0].height) == (5 * 16, 16)  # image; albedo and depth, as made and as they are


def test_samples_of_the_same_name_in_two_sets_are_both_shown(samples, base, tmp_path):
    others = write_samples(tmp_path / "others" / "samples", count=2)
    sets = tuple(DataSet(str(folder), rename={"flash": "image"}, limit=1) for folder in (samples, samples, others))
    train(team_config(samples, base, tmp_path / "run", steps=1, tensorboard=True, samples=3, sample_steps=1, validation=sets))
    shown = sorted(events(tmp_path / "run").Tags()["images"])
    assert len(shown) == 3 and shown[0] == "samples/0" and f"samples/{samples.name}/0" in shown


def test_what_was_told_after_the_last_save_is_told_once(samples, base, tmp_path):
    config = team_config(samples, base, tmp_path, steps=150, save_every=60, tensorboard=True, samples=0)
    trainer = Trainer(config, stage_for(config), lambda line: None)
    step = trainer._optimizer_step

    def fails_at_110():
        if trainer.step == 110:
            raise KeyboardInterrupt
        return step()

    trainer._optimizer_step = fails_at_110
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    train(config)
    assert [e.step for e in events(tmp_path).Scalars("loss/train")] == list(range(1, 151))
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [50, 100, 150]


def test_a_run_that_begins_anew_has_the_curves_of_none_before(samples, base, tmp_path):
    config = team_config(samples, base, tmp_path, steps=4, tensorboard=True, samples=0)
    train(config)
    (tmp_path / "tensorboard" / "notes.txt").write_text("kept")
    train(dataclasses.replace(config, steps=2, resume=False))
    assert [e.step for e in events(tmp_path).Scalars("loss/train")] == [1, 2]
    assert (tmp_path / "tensorboard" / "notes.txt").exists()
    train(dataclasses.replace(config, steps=3))
    assert [e.step for e in events(tmp_path).Scalars("loss/train")] == [1, 2, 3]


def test_the_adapter_is_there_in_the_public_format_at_every_save(samples, base, tmp_path):
    config = team_config(samples, base, tmp_path, steps=4, save_every=2, network={"title": "Two steps"})
    stage, seen = stage_for(config), []
    save = stage.save
    stage.save = lambda folder: (save(folder), seen.append(read_checkpoint(folder / "team.safetensors").config))
    Trainer(config, stage, lambda line: None).run()
    assert len(seen) == 2
    assert seen[0].title == "Two steps" and seen[0].teammates == ("image.in", "albedo.out", "depth.out")
    assert seen[0].base_model == str(base)
    named = stage_for(team_config(samples, base, tmp_path, network={"base_model": "someone/base"}))
    assert named.team.base_model == "someone/base"


def test_a_bar_on_a_terminal(samples, base, tmp_path):
    path = write_config(team_config(samples, base, tmp_path / "run", steps=60), tmp_path / "c.toml")
    command = [sys.executable, "-m", "engine_server", "train", str(path)]
    terminal, side = pty.openpty()
    termios.tcsetwinsize(side, (24, 100))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, stderr=side) as process:
        os.close(side)
        drawn = b""
        while part := _read(terminal):
            drawn += part
        out = process.stdout.read()
    assert process.returncode == 0 and out.endswith(f"60 steps done: {tmp_path / 'run'}\n") and "loss" not in out
    assert b"60/60" in drawn and b"loss 1." in drawn


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""
