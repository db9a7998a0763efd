# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the mean of two runs' weights: tensor by tensor, in a folder that loads, and a sentence for what cannot be."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine_server.diffusion.loading import load_base
from engine_server.train import mean

from .tiny import tiny_base

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def runs(tmp_path):
    """A tiny base as two runs have left it, the second with other weights and its state beside them."""
    for number, name in enumerate(("before", "after")):
        tiny_base("SD2", tmp_path / name)
        weights = load_file(tmp_path / name / WEIGHTS)
        torch.manual_seed(number)
        save_file({key: torch.randn_like(value) for key, value in weights.items()}, tmp_path / name / WEIGHTS, {"format": "pt"})
        save_file({"weight": torch.full((2,), float(number))}, tmp_path / name / "wide.safetensors", {"given": "image"})
    save_file({"step": torch.zeros(1)}, tmp_path / "after" / "state.safetensors")
    (tmp_path / "after" / "log.jsonl").write_text("{}\n")
    return tmp_path / "before", tmp_path / "after"


def words(runs, out, share="0.25"):
    return ["--before", str(runs[0]), "--after", str(runs[1]), "--share", share, "--out", str(out)]


def test_each_tensor_is_the_mean_and_the_base_loads(runs, tmp_path):
    out = tmp_path / "mean"
    assert mean.main(words(runs, out)) == 0
    first, second, made = (load_file(folder / WEIGHTS) for folder in (*runs, out))
    assert all(torch.allclose(made[name], 0.75 * first[name] + 0.25 * second[name], atol=1e-6) for name in first)
    assert torch.equal(load_file(out / "wide.safetensors")["weight"], torch.full((2,), 0.25))
    with safe_open(out / "wide.safetensors", "pt") as file:
        assert file.metadata() == {"given": "image"}
    assert not (out / "state.safetensors").exists() and not (out / "log.jsonl").exists()
    assert {path.stat().st_mode for path in out.rglob("*.safetensors")} == {(out / "unet" / "config.json").stat().st_mode}
    network = load_base(str(out)).network
    assert torch.allclose(network.conv_in.weight, made["conv_in.weight"])


@pytest.mark.parametrize(("share", "which"), [("0", 0), ("1", 1)])
def test_the_ends_are_the_runs_themselves(runs, tmp_path, share, which):
    assert mean.main(words(runs, tmp_path / "mean", share)) == 0
    expected, made = load_file(runs[which] / WEIGHTS), load_file(tmp_path / "mean" / WEIGHTS)
    assert all(torch.allclose(made[name], expected[name], atol=1e-6) for name in expected)


def emptied(before, after, out):
    for path in after.rglob("*.safetensors"):
        path.unlink()


def widened(before, after, out):
    save_file({"weight": torch.zeros(3)}, after / "wide.safetensors")


@pytest.mark.parametrize(
    ("harm", "share", "sentence"),
    [
        (lambda *_: None, "1.5", "expected 0"),
        (lambda before, after, out: out.mkdir(), "0.5", "is there already"),
        (emptied, "0.5", "holds no weights"),
        (widened, "0.5", "different networks"),
        (lambda before, after, out: (before / "wide.safetensors").unlink(), "0.5", "cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence(runs, tmp_path, harm, share, sentence, capsys):
    harm(*runs, tmp_path / "mean")
    assert mean.main(words(runs, tmp_path / "mean", share)) == 2
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and not said.out


def test_nothing_is_written_where_it_fails(runs, tmp_path):
    widened(*runs, None)
    mean.main(words(runs, tmp_path / "mean"))
    assert not (tmp_path / "mean").exists() and json.loads((runs[1] / "log.jsonl").read_text()) == {}
