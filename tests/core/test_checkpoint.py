# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the checkpoint format: exact both ways, and one sentence for each way a file can be wrong."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine_server.teamwork import CheckpointError, load_team
from engine_server.teamwork.checkpoint import read_checkpoint, save_checkpoint

from .tiny import TEAMMATES


def altered(adapter, path, tensors=None, **metadata):
    """A copy of the checkpoint with some tensors or metadata replaced (None: removed)."""
    with safe_open(adapter, "pt") as file:
        kept = file.metadata() | metadata
    data = load_file(adapter) | (tensors or {})
    clean = {k: v for k, v in data.items() if v is not None}
    save_file(clean, path, metadata={k: v for k, v in kept.items() if v is not None} or None)
    return path


def test_what_is_saved_is_loaded_exactly(sd3, adapter, tmp_path):
    team = load_team(sd3, adapter)
    save_checkpoint(tmp_path / "again.safetensors", team.base.network, team.config)
    first, again = load_file(adapter), load_file(tmp_path / "again.safetensors")
    assert set(first) == set(again) and all(torch.equal(first[k], again[k]) for k in first)
    assert read_checkpoint(adapter).config == read_checkpoint(tmp_path / "again.safetensors").config


def test_metadata_are_the_public_ones(adapter):
    with safe_open(adapter, "pt") as file:
        metadata, keys = file.metadata(), list(file.keys())
    assert metadata["modelspec.type"] == "teamwork" and metadata["teamwork.version"] == "1.0"
    assert metadata["teamwork.teammates"] == ",".join(TEAMMATES) and metadata["teamwork.use_bias"] == "True"
    assert metadata["teamwork.lora_rank"] == "4" and metadata["teamwork.profile"] == "SD3"
    assert "transformer_blocks.0.attn.to_out.0.adapter.down" in keys


def test_unknown_teamwork_keys_are_no_fault(sd3, adapter, tmp_path):
    load_team(sd3, altered(adapter, tmp_path / "a.safetensors", **{"teamwork.future": "1"}))


def test_joint_attention_is_switched_on_by_profile_or_by_mark_and_saved_with_both(sd3, adapter, tmp_path):
    mark = {"transformer_blocks.0.attn.adapter": torch.zeros(())}
    by_mark = altered(adapter, tmp_path / "a.safetensors", mark)
    by_profile = altered(adapter, tmp_path / "b.safetensors", **{"teamwork.profile": "SD3_PLUSATTN"})
    for path in (by_mark, by_profile):
        team = load_team(sd3, path)
        assert team.config.joint_attention
        save_checkpoint(tmp_path / "c.safetensors", team.base.network, team.config)
        saved = {f"transformer_blocks.{i}.attn.adapter" for i in range(2)} & set(load_file(tmp_path / "c.safetensors"))
        assert len(saved) == (1 if path == by_mark else 2)  # the marked layers, or all that the profile is about
        assert read_checkpoint(tmp_path / "c.safetensors").config == team.config


def test_rules_of_joint_attention_are_kept(sd3, adapter, tmp_path):
    rules = {"attn_allow": "11111;01000;00100;11110;11111", "teammate_image_ids": "10;0;20;0;0", "profile": "SD3_PLUSATTN"}
    entries = {f"teamwork.{key}": value for key, value in rules.items()}
    team = load_team(sd3, altered(adapter, tmp_path / "a.safetensors", **entries))
    assert team.config.attn_allow == ("11111", "01000", "00100", "11110", "11111")
    assert team.config.teammate_image_ids == (10, 0, 20, 0, 0)
    save_checkpoint(tmp_path / "b.safetensors", team.base.network, team.config)
    assert read_checkpoint(tmp_path / "b.safetensors").config == team.config


KEY = "transformer_blocks.0.attn.to_q.adapter."
FAULTS = {
    "no metadata": (None, {"modelspec.type": None}, "modelspec.type"),
    "no rank": (None, {"teamwork.lora_rank": None}, "teamwork.lora_rank"),
    "rank no number": (None, {"teamwork.lora_rank": "many"}, "many"),
    "rank too large": (None, {"teamwork.lora_rank": "99999"}, "99999"),
    "odd flag": (None, {"teamwork.use_bias": "yes"}, "True or False"),
    "odd name": (None, {"teamwork.teammates": "image.in,Albedo.out"}, "Albedo.out"),
    "name twice": (None, {"teamwork.teammates": ",".join((TEAMMATES[0],) * 5)}, "twice"),
    "profile unknown": (None, {"teamwork.profile": "SD9"}, "SD9"),
    "teammates do not fit": (None, {"teamwork.teammates": "image.in,albedo.out"}, "shape"),
    "too few rules": (None, {"teamwork.attn_allow": "110;111;011"}, "attn_allow does not fit 5 teammates"),
    "odd rule": (None, {"teamwork.attn_allow": ";".join(["11112"] * 5)}, "attn_allow"),
    "too few offsets": (None, {"teamwork.teammate_image_ids": "10;0"}, "expected 5 numbers"),
    "offset too large": (None, {"teamwork.teammate_image_ids": "0;0;0;0;99999"}, "teammate_image_ids"),
    "odd offset": (None, {"teamwork.teammate_image_ids": "0;0;0;0;far"}, "far"),
    "unknown mark": ({"blocks.9.attn.adapter": torch.zeros(())}, {}, "blocks.9.attn"),
    "missing tensor": ({KEY + "up": None}, {}, KEY + "up is missing"),
    "missing bias": ({KEY + "bias": None}, {}, KEY + "bias is missing"),
    "unknown tensor": ({"transformer_blocks.0.attn.to_q.weight": torch.ones(2)}, {}, "no part of a Teamwork adapter"),
    "unknown layer": ({"blocks.9.adapter.down": torch.ones(5, 2, 4)}, {}, "blocks.9"),
    "wrong shape": ({KEY + "up": torch.ones(5, 4, 17)}, {}, "(5, 4, 17), but the base asks for (5, 4, 16)"),
    "NaN": ({KEY + "up": torch.full((5, 4, 16), float("nan"))}, {}, "NaN"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_one_sentence(sd3, adapter, tmp_path, fault):
    tensors, metadata, words = FAULTS[fault]
    path = altered(adapter, tmp_path / "wrong.safetensors", tensors, **metadata)
    with pytest.raises(CheckpointError) as error:
        load_team(sd3, path)
    assert words in str(error.value) and "wrong.safetensors" in str(error.value) and "\n" not in str(error.value)


def test_a_file_cut_short(sd3, adapter, tmp_path):
    for length in (0, 5, 1000, adapter.stat().st_size - 1):
        path = tmp_path / "short.safetensors"
        path.write_bytes(adapter.read_bytes()[:length])
        with pytest.raises(CheckpointError, match="fetch it again"):
            load_team(sd3, path)


def test_another_family_names_both(sd3, adapter, tmp_path):
    path = altered(adapter, tmp_path / "flux.safetensors", **{"teamwork.profile": "FLUX", "base_model": "some/flux"})
    with pytest.raises(CheckpointError, match="FLUX.*SD3"):
        load_team(sd3, path)


def test_a_missing_file(sd3, tmp_path):
    with pytest.raises(CheckpointError, match="no adapter file"):
        load_team(sd3, tmp_path / "none.safetensors")
