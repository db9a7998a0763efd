# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmarks run, measure what they say they measure, and are found by their names."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from engine_server.teamwork.config import TeamConfig
from engine_server.teamwork.layers import Adapter, Roster
from scripts.benchmarks import benchmarks, flicker, main
from scripts.benchmarks.teamwork import dense, row
from scripts.environment import ROOT
from tests.engine.conftest import models  # noqa: F401 (a fixture)

TINY = ["--width", "64", "--layers", "1", "--side", "32", "--rank", "4", "--teammates", "3", "--prompt", "4"]


def test_the_script_runs_the_benchmark_that_is_named(tmp_path):
    words = ["teamwork", *TINY, "--images", "1,2", "--repeats", "2", "--device", "cpu", "--json", tmp_path / "figures.json"]
    command = [sys.executable, "scripts/benchmark.py", *map(str, words)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [each["images"] for each in figures] == [1, 2]
    assert all(value > 0 for each in figures for value in each.values())
    assert "team / base" in ended.stdout and "Goal" in ended.stdout


def test_the_wire_is_measured_beside_what_it_is_compared_with(tmp_path):
    """Every way brings its image back (the benchmark looks), and every goal has its line."""
    words = ["wire", "--sizes", "48x32", "--repeats", "1", "--questions", "20", "--job-repeats", "1", "--job-side", "32"]
    command = [sys.executable, "scripts/benchmark.py", *words, "--job-steps", "2", "--json", str(tmp_path / "figures.json")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    goals = {each["name"].partition(": ")[2] or each["name"]: each["goal"] for each in figures if each["goal"]}
    assert list(goals.values()) == ["<= 1", ">= 0.7", ">= 10", "<= 20", "<= 5"]
    assert all(each["value"] > 0 for each in figures if each["unit"] != "%") and "throughput" in ended.stdout


def test_what_jobs_tell_and_how_they_end_is_measured(tmp_path):
    words = ["jobs", "--side", "48", "--steps", "6", "--repeats", "1", "--cancels", "2", "--json", str(tmp_path / "figures.json")]
    command = [sys.executable, "scripts/benchmark.py", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr
    figures = {each["name"]: each for each in json.loads((tmp_path / "figures.json").read_text())}
    assert [each["goal"] for each in figures.values() if each["goal"]] == ["<= 5", "<= 2"]
    longest, whole = (figures[name]["value"] for name in ("the same, the longest", "a job that is not cancelled"))
    assert 0 <= longest and 0 < whole and "seconds left" in ended.stdout


def frame(shift: int, noise: float = 0.0) -> dict[str, np.ndarray]:
    """Passes of a picture that has moved so many pixels to the right, two in each frame."""
    random, x = np.random.default_rng(shift), np.arange(32) - shift
    wave = np.broadcast_to((0.5 + 0.4 * np.sin(0.5 * x))[None, :, None], (16, 32, 3))
    values = (wave + random.normal(0.0, noise, wave.shape)).astype(np.float32)
    vectors = np.broadcast_to(np.float32([-2, 0, -2, 0]), (16, 32, 4))
    return {"Combined": np.abs(wave), "Neural Normal": values, "Vector": vectors}


def test_what_moves_with_its_points_does_not_flicker_and_noise_does():
    steady, noisy = ([frame(shift, noise) for shift in (0, 2, 4)] for noise in (0.0, 0.1))
    assert flicker.flicker(steady, "Neural Normal") < 1e-6
    assert flicker.flicker(noisy, "Neural Normal") == pytest.approx(0.1 * 2 / np.pi**0.5, rel=0.1)
    assert flicker.error(steady, steady, "Combined") == 0.0


def test_the_flicker_of_an_animation_is_measured(models, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("TEAMWORK_MODELS", str(models))
    words = ["flicker", "--size", "24", "--frames", "2", "--truth", "1", "--model", "tiny", "--json", tmp_path / "figures.json"]
    command = [sys.executable, "scripts/benchmark.py", *map(str, words)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr
    figures = {(each["way"], each["shown"]): each["flicker"] for each in json.loads((tmp_path / "figures.json").read_text())}
    assert len(figures) == 2 + 3 * len(flicker.WAYS) and all(value > 0.0 for value in figures.values())
    for shown in ("Neural Image", "Neural Albedo", "Neural Normal"):
        alone, half, most = (figures[flicker.WAYS[number].name, shown] for number in (2, 3, 5))
        assert most < half < alone


def test_all_benchmarks_are_listed_with_what_they_measure(capsys):
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed and summary for name, summary in benchmarks().items()) and "teamwork" in listed
    assert main(["dance"]) == 2 and "dance" in capsys.readouterr().err


def test_ratios_are_taken_within_a_round():
    """A machine that is twice as busy in the second round changes no ratio."""
    measured = row(1, {"base": [1.0, 2.0, 1.0], "team": [1.1, 2.2, 1.1], "dense": [1.5, 3.0, 1.5]})
    assert (measured.team_ratio, measured.dense_ratio) == pytest.approx((1.1, 1.5))


def test_the_plain_einsum_is_the_equation():
    adapter = Adapter(Roster(TeamConfig(("a.in", "b.out"), 2, "SD3")), 3, 5, True)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    x, y = torch.randn(6, 4, 3), torch.randn(6, 4, 5)  # two teammates of three images
    with torch.no_grad():
        made = dense(y, x, adapter)
        for image in range(3):
            h = sum(x[t * 3 + image] @ adapter.down[t] for t in range(2))
            for t in range(2):
                expected = y[t * 3 + image] + h @ adapter.up[t] + adapter.bias[t]
                torch.testing.assert_close(made[t * 3 + image], expected)
