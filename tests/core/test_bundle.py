# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects a bundled team's folder: adapters meet the base that they were trained on, and what makes them smaller is exact."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from engine_server.diffusion.loading import load_base, load_team
from engine_server.library import located
from engine_server.models import team_info
from engine_server.teamwork.checkpoint import read_checkpoint, save_checkpoint, write_checkpoint
from engine_server.teamwork.config import TeamConfig, TeamError
from engine_server.teamwork.inject import adapters, attach, profile_layers
from engine_server.teamwork.shrink import cut_rank, in_eight_bits
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


def product(checkpoint, layer: str) -> torch.Tensor:
    """What all teammates together do on a layer: all inputs x all outputs."""
    parts = checkpoint.layers[layer]
    down, up = parts["down"].double().flatten(0, 1), parts["up"].double().transpose(0, 1).flatten(1)
    return down @ up


def test_a_cut_rank_is_the_nearest_of_that_rank(parts):
    whole = read_checkpoint(parts[1]["team"] / "team.safetensors")
    same, cut = cut_rank(whole, 2), cut_rank(whole, 1)
    assert cut.config.rank == 1 and cut.config.teammates == whole.config.teammates
    for layer, tensors in whole.layers.items():
        full = product(whole, layer)
        assert torch.allclose(product(same, layer), full, atol=1e-6)
        left, values, right = torch.linalg.svd(full, full_matrices=False)
        nearest = values[0] * left[:, :1] @ right[:1]
        assert torch.allclose(product(cut, layer), nearest, atol=1e-5)
        assert "bias" not in tensors or torch.equal(cut.layers[layer]["bias"], tensors["bias"])
    with pytest.raises(TeamError, match="it has 2"):
        cut_rank(whole, 3)
    alone = dataclasses.replace(whole, config=dataclasses.replace(whole.config, communication=False))
    with pytest.raises(TeamError, match="Without communication"):
        cut_rank(alone, 1)


def test_eight_bits_keep_small_factors(parts, tmp_path):
    """Whatever the sizes of both factors: what counts is off by less than a tenth, and the file is half as large."""
    whole = read_checkpoint(parts[1]["team"] / "team.safetensors")
    for parts_of in whole.layers.values():
        parts_of["down"] *= 1e-3
        parts_of["up"] *= 1e2
    write_checkpoint(dataclasses.replace(in_eight_bits(whole), path=tmp_path / "small.safetensors"), torch.float16)
    write_checkpoint(dataclasses.replace(whole, path=tmp_path / "usual.safetensors"), torch.float16)
    back = read_checkpoint(tmp_path / "small.safetensors")
    for layer in whole.layers:
        expected = product(whole, layer)
        assert (product(back, layer) - expected).norm() < 0.09 * expected.norm()

    def held(name: str) -> int:
        with safe_open(tmp_path / name, "pt") as file:
            return sum(file.get_tensor(key).nbytes for key in file.keys() if not key.endswith("bias"))

    assert held("small.safetensors") * 2 == held("usual.safetensors")


def test_a_folder_may_hold_a_shrunk_adapter_and_tasks_that_start_from_noise(parts, tmp_path):
    bases, trained_in = parts
    facts = {"default_steps": 1, "zero_start": True, "always": {"team.safetensors": ["albedo"]}}
    facts["tasks"] = {"synthesize": {"steps": 3, "zero_start": False}}
    bundle({"base": bases["base"]}, {"team": trained_in["team"]}, tmp_path / "one", facts, {"team": 1})
    team = load_team(tmp_path / "one")
    assert team.config.rank == 1 and team.always == ("albedo",)
    assert team.manner("synthesize").steps == 3 and not team.manner("synthesize").zero_start and team.manner("material").zero_start
    photo = {"image": np.random.default_rng(0).random((16, 16, 3), np.float32)}
    both, alone = team.run(photo, steps=2, seed=1), team.run(photo, "normals", steps=2, seed=1)
    assert list(alone) == ["normals"] and np.allclose(alone["normals"], both["normals"], atol=1e-5)
    team.always = ()
    assert not np.allclose(team.run(photo, "normals", steps=2, seed=1)["normals"], both["normals"], atol=1e-5)


def test_an_adapter_given_with_a_folder_part_is_the_users_own_and_a_bare_name_the_teams(parts, tmp_path, monkeypatch):
    bases, trained_in = parts
    facts = {"adapters": {"decompose": "scenes.safetensors"}, "bases": {"scenes.safetensors": "scenes_base"}}
    folder, here = tmp_path / "both", tmp_path / "here"
    bundle(bases, trained_in, folder, facts)
    trained(here, bases["base"], "SD2", ("roughness.out",))
    monkeypatch.chdir(here)
    own = ("image.in", "roughness.out")
    assert load_team(folder, "./team.safetensors").teammates == own == load_team(folder, here / "team.safetensors").teammates
    assert load_team("../both", "../both/scenes.safetensors").teammates == load_team(folder, "scenes.safetensors").teammates != own
    with pytest.raises(TeamError, match=r"team\.safetensors is a file here and one of the team in .*: write \./team\.safetensors for"):
        load_team(folder, "team.safetensors")
    (here / "team.safetensors").rename(here / "mine.safetensors")
    assert load_team(folder, "mine.safetensors").teammates == own != load_team(folder, "team.safetensors").teammates
    with pytest.raises(TeamError, match=r"none\.safetensors"):
        load_team(folder, "none.safetensors")
    (here / "scenes.safetensors").write_bytes(b"")  # what lies in the working folder does not disturb a team's own tasks
    assert located(folder, "decompose").adapter == str(folder / "scenes.safetensors")


def test_a_base_in_eight_bits_is_smaller_and_nearly_the_same(tmp_path):
    plain = tiny_base("SD2", tmp_path / "plain")
    adapter = trained(tmp_path / "maps", plain, "SD2", ("albedo.out",))
    for name, small in (("half", ()), ("eight", ("base",))):
        bundle({"base": plain}, {"team": adapter}, tmp_path / name, {"default_steps": 1}, small=small)
    half, eight = (load_base(tmp_path / name / "base").network for name in ("half", "eight"))
    sizes = [sum(file.stat().st_size for file in (tmp_path / name / "base" / "unet").glob("*.safetensors")) for name in ("half", "eight")]
    assert sizes[1] < 0.7 * sizes[0]
    for (name, one), other in zip(half.named_parameters(), eight.parameters(), strict=True):
        assert other.dtype == torch.float32
        assert (one - other).abs().max() <= max(float(one.abs().max()) / 16, 2**-10) * (one.ndim > 1), name
