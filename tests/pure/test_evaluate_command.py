# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects `python -m engine_server evaluate` from its options to its files, with a real team on a tiny seeded base."""

import argparse
import json

import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from PIL import Image
from safetensors.torch import save_file

from engine_server.commands import evaluate as command
from engine_server.diffusion.loading import load_base
from engine_server.teamwork.checkpoint import save_checkpoint
from engine_server.teamwork.config import TeamConfig
from engine_server.teamwork.inject import attach, profile_layers

TEAMMATES = ("image.in", "albedo.out", "normals.out", "roughness.out", "metalness.out")


def _base(folder):
    torch.manual_seed(0)
    SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=16,
        pooled_projection_dim=16,
        pos_embed_max_size=32,
    ).save_pretrained(folder / "transformer")
    AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.0,
        scaling_factor=1.0,
    ).save_pretrained(folder / "vae")
    FlowMatchEulerDiscreteScheduler().save_pretrained(folder / "scheduler")
    prompt = {"prompt_embeds": torch.zeros(1, 1, 16), "pooled_prompt_embeds": torch.zeros(1, 16)}
    save_file(prompt, folder / "empty_prompt.safetensors")


@pytest.fixture(scope="module")
def tiny_team(tmp_path_factory):
    """The options that name a tiny team."""
    folder = tmp_path_factory.mktemp("team")
    _base(folder)
    base, config = load_base(folder), TeamConfig(teammates=TEAMMATES, rank=4, profile="SD3", base_model=str(folder))
    attach(base.network, profile_layers(base.network, config.family), config)
    save_checkpoint(folder / "team.safetensors", base.network, config)
    return ["--team", str(folder), "--adapter", str(folder / "team.safetensors"), "--steps", "2"]


def _run(*options):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(option) for option in options]))


def test_table_json_and_contact_sheet(tiny_team, write, tmp_path, capsys):
    for name in ("stone", "wood", "zinc"):
        write.sample(tmp_path / "data" / name, kinds=("flash", "env"), size=(40, 32))
    files = tmp_path / "out" / "scores.json", tmp_path / "out" / "sheet.png"
    options = ["--data", tmp_path / "data", "--limit", 2, "--json", files[0], "--contact-sheet", files[1]]
    assert _run(*tiny_team, *options) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("4 photos\n") and "normals    mean angle, degrees" in printed.out
    assert "4/4 wood/env" in printed.err
    stored = json.loads(files[0].read_text())
    assert [sample["name"] for sample in stored["samples"]] == ["stone/flash", "stone/env", "wood/flash", "wood/env"]
    assert stored["settings"]["steps"] == 2 and stored["settings"]["data"] == str(tmp_path / "data")
    with Image.open(files[1]) as picture:
        assert picture.width > 9 * 128


def test_the_same_seed_gives_the_same_figures(tiny_team, write, tmp_path, capsys):
    write.sample(tmp_path / "stone", size=(24, 17))
    tables = []
    for seed in (1, 1, 2):
        assert _run(*tiny_team, "--data", tmp_path, "--seed", seed) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1] != tables[2]


def test_a_team_that_is_not_there_gets_a_sentence(write, tmp_path, capsys):
    write.sample(tmp_path)
    assert _run("--team", "nobody", "--data", tmp_path) == 2
    assert "no bundled team 'nobody'" in capsys.readouterr().err


def test_results_that_cannot_be_written_get_a_sentence_after_the_table(tiny_team, write, tmp_path, capsys):
    write.sample(tmp_path / "data")
    (tmp_path / "file").write_text("")
    assert _run(*tiny_team, "--data", tmp_path / "data", "--json", tmp_path / "file" / "scores.json") == 2
    printed = capsys.readouterr()
    assert printed.out.startswith("1 photo\n") and "cannot be written" in printed.err
