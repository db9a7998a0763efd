# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects a bundled team's folder: adapters meet the base that they were trained on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from engine_server.diffusion.loading import load_base, load_team
from engine_server.models import team_info
from engine_server.teamwork.checkpoint import save_checkpoint
from engine_server.teamwork.config import TeamConfig
from engine_server.teamwork.inject import adapters, attach, profile_layers
from engine_server.train.bundle import bundle

from .tiny import tiny_base


def trained(folder: Path, base: Path, profile: str, outputs: tuple[str, ...]) -> Path:
    """A folder as training leaves it, with an adapter of random numbers for that base."""
    torch.manual_seed(len(outputs))
    network, config = load_base(base).network, TeamConfig(("image.in", *outputs), rank=2, base_model=str(base), profile=profile)
    attach(network, profile_layers(network, profile), config)
    for adapter in adapters(network).values():
        torch.nn.init.normal_(adapter.up, std=0.1)
    folder.mkdir()
    save_checkpoint(folder / "team.safetensors", network, config, torch.float32)
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Two bases of different kinds, and a trained adapter for each."""
    place = tmp_path_factory.mktemp("parts")
    bases = {"base": tiny_base("SD2", place / "unet"), "scenes_base": tiny_base("SD3", place / "transformer")}
    team = trained(place / "maps", bases["base"], "SD2", ("albedo.out", "normals.out"))
    scenes = trained(place / "scenes", bases["scenes_base"], "SD3", ("albedo.out", "depth.out"))
    return bases, {"team": team, "scenes": scenes}


def test_each_adapter_of_a_folder_is_loaded_with_its_own_base(parts, tmp_path):
    bases, trained_in = parts
    facts = {"default_steps": 1, "adapters": {"decompose": "scenes.safetensors"}, "bases": {"scenes.safetensors": "scenes_base"}}
    bundle(bases, trained_in, tmp_path / "both", facts)
    photo = {"image": np.random.default_rng(0).random((16, 16, 3), np.float32)}
    for name, base in (("team", "base"), ("scenes", "scenes_base")):
        made = load_team(tmp_path / "both", f"{name}.safetensors").run(photo, steps=2)
        straight = load_team(bases[base], trained_in[name] / "team.safetensors").run(photo, steps=2)
        for channel, picture in straight.items():
            assert np.abs(made[channel] - picture).max() < 0.02, channel  # the folder is in half precision
    for file in (tmp_path / "both").rglob("*"):
        assert file.is_dir() or str(tmp_path.parent).encode() not in file.read_bytes(), file
    info = team_info(tmp_path / "both")
    assert {"normals.out", "depth.out"} <= set(info.teammates) and {"material", "decompose"} <= set(info.tasks)
