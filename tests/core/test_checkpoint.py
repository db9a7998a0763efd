# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the checkpoint format: exact both ways, and one sentence for each way a file can be wrong."""

import diffusers
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine_server.diffusion.loading import load_base
from engine_server.teamwork import CheckpointError, TeamError, inject, load_team
from engine_server.teamwork.checkpoint import read_checkpoint, save_checkpoint
from engine_server.teamwork.inject import profile_layers

from .tiny import FAMILIES, TEAMMATES, tiny_adapter, tiny_base, wide_sd3


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
BOTH = "was made for tiny/SD3 (SD3) and does not fit"
FAULTS = {
    "no metadata": (None, {"modelspec.type": None}, "modelspec.type"),
    "no rank": (None, {"teamwork.lora_rank": None}, "teamwork.lora_rank"),
    "rank no number": (None, {"teamwork.lora_rank": "many"}, "lora_rank is 'many'; expected a whole number"),
    "rank of digits without end": (None, {"teamwork.lora_rank": "9" * 5000}, "expected a whole number"),
    "rank in other digits": (None, {"teamwork.lora_rank": "٤"}, "expected a whole number"),
    "rank too large": (None, {"teamwork.lora_rank": "99999"}, "99999"),
    "rank none": (None, {"teamwork.lora_rank": "0"}, "The rank is 0; expected 1 to 4096"),
    "another rank": (None, {"teamwork.lora_rank": "4096"}, "(5, 16, 4), but the base asks for (5, 16, 4096)"),
    "odd flag": (None, {"teamwork.use_bias": "yes"}, "True or False"),
    "odd name": (None, {"teamwork.teammates": "image.in,Albedo.out"}, "Albedo.out"),
    "name without end": (None, {"teamwork.teammates": "a" * 10_000 + ".in"}, "is not named like"),
    "odd characters": (None, {"teamwork.teammates": "image.in,a\n\u202e.out"}, "'a\\n\\u202e.out'"),
    "name twice": (None, {"teamwork.teammates": ",".join((TEAMMATES[0],) * 5)}, "image.in' is listed twice"),
    "thousands of teammates": (None, {"teamwork.teammates": ",".join(["a.in"] * 5000)}, "this one lists 5000"),
    "no teammates": (None, {"teamwork.teammates": ""}, "is not named like"),
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
    "bias against the metadata": (None, {"teamwork.use_bias": "False"}, "adapter.bias has no place there"),
    "unknown tensor": ({"transformer_blocks.0.attn.to_q.weight": torch.ones(2)}, {}, "no part of a Teamwork adapter"),
    "unknown layer": ({"blocks.9.adapter.down": torch.ones(5, 2, 4)}, {}, f"{BOTH}"),
    "no layer of weights": ({"transformer_blocks.0.attn.adapter.down": torch.ones(5, 2, 4)}, {}, "is a Attention; only linear"),
    "wrong shape": ({KEY + "up": torch.ones(5, 4, 17)}, {}, "(5, 4, 17), but the base asks for (5, 4, 16)"),
    "wrong dimensions": ({KEY + "up": torch.ones(())}, {}, "(), but the base asks for (5, 4, 16)"),
    "NaN": ({KEY + "up": torch.full((5, 4, 16), float("nan"))}, {}, "NaN"),
    "infinity": ({KEY + "up": torch.full((5, 4, 16), float("-inf"))}, {}, "NaN or infinite"),
    "whole numbers": ({KEY + "up": torch.ones(5, 4, 16, dtype=torch.int8)}, {}, "is of the type torch.int8"),
    "eight bits": ({KEY + "up": torch.ones(5, 4, 16).to(torch.float8_e5m2)}, {}, "is of the type torch.float8"),
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


def test_another_family_names_both_and_loads_nothing(sd3, adapter, tmp_path, monkeypatch):
    path = altered(adapter, tmp_path / "flux.safetensors", **{"teamwork.profile": "FLUX", "base_model": "some/flux"})
    monkeypatch.setattr(diffusers.SD3Transformer2DModel, "from_pretrained", None)  # would fail
    with pytest.raises(CheckpointError, match="was made for FLUX some/flux, but .* is a SD3 base"):
        load_team(sd3, path)


def test_a_base_of_another_size_names_both(adapter, tmp_path):
    with pytest.raises(CheckpointError, match=r"tiny/SD3 \(SD3\) and does not fit .*wide: .*\(5, 16, 4\), but the base"):
        load_team(wide_sd3(tmp_path / "wide"), adapter)


def test_pickles_are_not_opened(sd3, adapter, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"a": Trap()}, tmp_path / "new.safetensors")
    torch.save({"a": Trap()}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("new.safetensors", "old.pt"):
        with pytest.raises(CheckpointError, match=f"{name} is a PyTorch pickle.*convert it to safetensors"):
            load_team(sd3, tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_odd_free_texts_do_no_harm(sd3, adapter, tmp_path):
    odd = {"base_model": "a\nb" * 500, "modelspec.title": "\n\n", "modelspec.resolution": f"{'9' * 5000}x1"}
    team = load_team(sd3, altered(adapter, tmp_path / "a.safetensors", **odd))
    assert "\n" not in team.config.base_model and len(team.config.base_model) <= 200 and team.native_size is None
    assert load_team(sd3, altered(adapter, tmp_path / "b.safetensors", **{"modelspec.resolution": "512X256"})).native_size == 512


@pytest.mark.parametrize("flag", ["communication", "use_bias"])
@pytest.mark.parametrize("family", ["SD3", "SDXL"])
def test_teams_apart_and_without_bias_are_loaded_run_and_saved_as_such(family, flag, tmp_path, photo):
    folder = tiny_base(family, tmp_path)
    team = load_team(folder, tiny_adapter(folder, tmp_path / "a.safetensors", profile=family, **{flag: False}))
    assert getattr(team.config, flag) is False
    save_checkpoint(tmp_path / "b.safetensors", team.base.network, team.config)
    again = load_team(folder, tmp_path / "b.safetensors")
    assert again.config == team.config
    assert any(key.endswith(".bias") for key in load_file(tmp_path / "b.safetensors")) == (flag != "use_bias")
    one, other = (t.run({"image": photo}, ["albedo"], steps=1)["albedo"] for t in (team, again))
    assert np.array_equal(one, other)
    darker = team.run({"image": photo / 2}, ["albedo"], steps=1)["albedo"]
    assert np.array_equal(darker, one) == (flag == "communication")  # nobody hears of the photo


@pytest.mark.parametrize("profile", FAMILIES)
def test_an_entry_of_a_profile_that_fits_no_layer_is_named(profile, tmp_path):
    network = load_base(tiny_base(profile, tmp_path)).network
    for family in FAMILIES:
        if {profile, family} <= {"SD2", "SDXL"} or profile == family:
            assert profile_layers(network, family)
        elif (profile, family) != ("FLUX", "SD3"):  # all that SD3 asks for FLUX has as well
            with pytest.raises(TeamError, match=f"The entry .* of the profile {family} fits no layer of {type(network).__name__}"):
                profile_layers(network, family)


def test_a_convolution_that_changes_the_size_is_refused(tmp_path):
    folder = tiny_base("SD2", tmp_path)
    adapter = tiny_adapter(folder, tmp_path / "a.safetensors", profile="SD2")
    down = {f"down_blocks.0.downsamplers.0.conv.adapter.{n}": torch.ones(s) for n, s in (("down", (5, 8, 4)), ("up", (5, 4, 8)))}
    with pytest.raises(CheckpointError, match="downsamplers.0.conv changes the size of its input"):
        load_team(folder, altered(adapter, tmp_path / "b.safetensors", down))


def test_loading_allocates_nothing_for_what_does_not_fit(sd3, adapter, tmp_path, monkeypatch):
    names = ",".join(f"{chr(97 + i // 16)}{chr(97 + i % 16)}.out" for i in range(256))
    path = altered(adapter, tmp_path / "a.safetensors", **{"teamwork.teammates": names, "teamwork.lora_rank": "4096"})
    monkeypatch.setattr(inject, "Adapter", None)  # 1.4 GB would fail
    with pytest.raises(CheckpointError, match=r"\(256, 16, 4096\)"):
        load_team(sd3, path)


def test_a_missing_file(sd3, tmp_path):
    with pytest.raises(CheckpointError, match="no adapter file"):
        load_team(sd3, tmp_path / "none.safetensors")
