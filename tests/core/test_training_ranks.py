# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects training on several devices: two processes with one batch each are one process with two."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from engine_server.train.config import TrainConfig
from engine_server.train.errors import ConfigError
from engine_server.train.loop import STATE
from engine_server.train.ranks import Ranks
from engine_server.train.state import read_state

from .tiny import tiny_base
from .training import start, team_config, train, write_config, write_samples

TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
"""What `accelerate launch` starts for several GPUs, too; for processors alone it would ask for mpirun."""


def test_two_processes_learn_what_one_does_with_twice_the_batches(tmp_path):
    (tmp_path / "base").mkdir()
    samples, base = write_samples(tmp_path / "samples"), tiny_base("SD3", tmp_path / "base")
    alone = team_config(samples, base, tmp_path / "alone", steps=6, accumulate=4)
    train(alone)
    together = dataclasses.replace(alone, output=str(tmp_path / "together"), accumulate=2, save_every=3)
    process = start(write_config(together, tmp_path / "c.toml"), *TWO)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.count("6 steps done") == 1  # one process talks for both
    assert read_state(tmp_path / "together" / STATE).step == 6
    a, b = (load_file(tmp_path / name / "team.safetensors") for name in ("alone", "together"))
    for name in a:
        torch.testing.assert_close(b[name], a[name], rtol=1e-4, atol=1e-6)


def test_what_no_process_has_trained_in_a_step_stays_as_alone(tmp_path):
    """A joint run's batches are for one team each: the adapters of the others have no gradient in that step."""
    (tmp_path / "base").mkdir()
    samples, base = write_samples(tmp_path / "samples"), tiny_base("SD2", tmp_path / "base")
    maps = team_config(samples, base, tmp_path, network={"profile": "SD2"})
    depths = dataclasses.replace(maps, network=maps.network | {"teammates": ("image.in", "depth.out")})
    teams = tuple(str(write_config(team, tmp_path / name)) for name, team in (("maps.toml", maps), ("depths.toml", depths)))
    common = {"optimizer": "adamw", "learning_rate": 3e-3, "precision": "float32", "tensorboard": False}
    alone = TrainConfig(
        "joint", str(tmp_path / "alone"), base=str(base), options={"teams": teams}, steps=3, accumulate=2, **common
    )
    train(alone)
    together = dataclasses.replace(alone, output=str(tmp_path / "together"), accumulate=1)
    process = start(write_config(together, tmp_path / "c.toml"), *TWO)
    _, err = process.communicate()
    assert process.returncode == 0, err
    a, b = (load_file(tmp_path / name / "depths" / "team.safetensors") for name in ("alone", "together"))
    for name in a:
        torch.testing.assert_close(b[name], a[name], rtol=1e-4, atol=1e-5)


def test_a_device_that_is_not_there_gets_a_sentence():
    with pytest.raises(ConfigError, match="'cuda:77' is not there .*cpu always is"):
        Ranks("cuda:77")
    assert Ranks("auto").count == 1
