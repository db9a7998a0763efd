# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's commands as a user types them, each in a process of its own, with tiny teams and the bundled one."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from engine_server.__main__ import main
from engine_server.commands.serve import DEVICE
from scripts.environment import ROOT
from tests.core.tiny import tiny_adapter, tiny_base


def engine(*words: object) -> subprocess.CompletedProcess:
    """`python -m engine_server ...`."""
    command = [sys.executable, "-m", "engine_server", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """The words that name a tiny team."""
    folder = tmp_path_factory.mktemp("team")
    base = tiny_base("SD3", folder / "base")
    return ["--base", base, "--adapter", tiny_adapter(base, folder / "team.safetensors"), "--steps", 2]


@pytest.fixture
def photo(tmp_path):
    """A small photo with an odd size."""
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (21, 34, 3), np.uint8)).save(path)
    return path


def test_run_writes_the_channels_that_were_asked_for(team, photo, tmp_path):
    ended = engine("run", *team, "--image", f"image={photo}", "--request", "albedo,normals", "--out", tmp_path / "maps")
    assert ended.returncode == 0, ended.stderr
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["albedo.png", "normals.png"]
    assert all(Image.open(p).size == (34, 21) for p in (tmp_path / "maps").iterdir())
    assert "step 2 of 2" in ended.stdout and str(tmp_path / "maps" / "albedo.png") in ended.stdout


@pytest.mark.parametrize("request_", ["albedo", "all"])
def test_run_never_writes_over_a_given_picture(team, photo, tmp_path, request_):
    given = photo.rename(tmp_path / "albedo.png")
    before = given.read_bytes()
    ended = engine("run", *team, "--image", f"image={given}", "--request", request_, "--out", tmp_path)
    assert ended.returncode == 2 and "albedo.png is a given picture" in ended.stderr and ended.stderr.count("\n") == 1
    assert [*tmp_path.iterdir()] == [given] and given.read_bytes() == before


def test_run_takes_a_solver(team, photo, tmp_path):
    given = ["--image", f"image={photo}", "--request", "albedo", "--solver", "heun"]
    ended = engine("run", *team, *given, "--out", tmp_path / "maps")
    assert ended.returncode == 0, ended.stderr
    assert "step 3 of 3" in ended.stdout  # Heun asks the network twice but in the last step


def test_run_tells_the_views_of_a_single_step_from_steps(photo, tmp_path):
    ended = engine("run", "--image", f"image={photo}", "--request", "albedo", "--out", tmp_path / "maps")
    assert ended.returncode == 0, ended.stderr
    assert "view 1 of " in ended.stdout and "step" not in ended.stdout


def test_the_bundled_team_makes_nothing_of_nothing(tmp_path):
    ended = engine("run", "--width", 64, "--height", 64, "--out", tmp_path / "maps")
    assert ended.returncode == 2 and not (tmp_path / "maps").exists()
    assert "does not make pictures of nothing: it answers what it is given" in ended.stderr and ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--image", "photo.png"], "CHANNEL=FILE"),
        (["--image", "image=gone.png"], "There is no file gone.png."),
        (["--image", "image={photo}", "--image", "image={photo}"], "--image gives image 2 times; give each channel once."),
        (["--width", "1000000", "--height", "1000000"], "The memory does not suffice"),
        (["--image", "image={photo}", "--out", "{photo}"], "photo.png is a file; --out names a folder"),
        (["--image", "image={photo}", "--request", "colours"], "colours"),
        (["--image", "image={photo}", "--solver", "rk4"], "euler, heun, dpm++"),
    ],
)
def test_run_says_in_a_sentence_what_is_wrong(team, photo, tmp_path, words, said):
    ended = engine("run", *team, "--out", tmp_path / "maps", *(word.format(photo=photo) for word in words))
    assert ended.returncode == 2 and said in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "maps").exists()


def test_the_bundled_team_is_scored_on_a_sample(tmp_path):
    sample = tmp_path / "stone"
    sample.mkdir()
    colours = {"flash": (120, 90, 60), "albedo": (128, 100, 70), "normals": (128, 128, 255)}
    for name, colour in colours.items():
        Image.new("RGB", (64, 64), colour).save(sample / f"{name}.png")
    for name, value in {"roughness": 180, "metalness": 0}.items():
        Image.new("L", (64, 64), value).save(sample / f"{name}.png")
    ended = engine("evaluate", "--data", tmp_path, "--size", 64, "--json", tmp_path / "scores.json")
    assert ended.returncode == 0, ended.stderr
    assert "mean angle, degrees" in ended.stdout
    assert [s["name"] for s in json.loads((tmp_path / "scores.json").read_text())["samples"]] == ["stone/flash"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "foo"], "There is no device called 'foo'"),
        (["--device", "cpu,cuda:x"], "There is no device called 'cuda:x'"),
        (["--models", "nosuch"], "There is no folder nosuch"),
        (["--keep", "0"], "--keep is 0; expected more than 0"),
        (["--hang-limit", "0"], "--hang-limit is 0; expected more than 0"),
        (["--drain", "nan"], "--drain is nan; expected 0 or more"),
        (["--workers", "3"], "--workers is for a cluster: give --cluster, too"),
        (["--cluster-port", "47471"], "--cluster-port is for a cluster"),
    ],
)
def test_serve_refuses_what_could_not_work_before_it_says_ready(tmp_path, capsys, words, said):
    assert main(["serve", "--home", str(tmp_path / "home"), *words]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("serve: ") and said in told.err and told.err.count("\n") == 1 and not told.out


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", "mps", "xpu", "xpu:0"])
def test_devices_of_pytorch_are_known_by_name(device):
    assert DEVICE.fullmatch(device)


def test_models_lists_the_bundled_team():
    ended = engine("models")
    assert ended.returncode == 0 and "nano" in ended.stdout and "MB" in ended.stdout


def test_help_lists_the_commands_without_torch():
    ended = engine("--help")
    assert ended.returncode == 0
    for command in ("serve", "run", "train", "evaluate", "models"):
        assert command in ended.stdout
    assert engine("dance").returncode == 2


@pytest.mark.parametrize(
    ("package", "command", "said"),
    [
        ("zmq", ["serve"], "pip install '.[engine]'"),
        ("torch", ["run", "--out", "maps"], "pip install '.[engine]'"),
    ],
)
def test_a_package_that_is_not_there_is_one_sentence(package, command, said):
    code = f"import sys; sys.modules[{package!r}] = None; from engine_server.__main__ import main; sys.exit(main({command}))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
    assert said in ended.stderr and package in ended.stderr


def test_what_training_needs_besides_names_the_extra(monkeypatch, capsys):
    def lacks(args):
        raise ModuleNotFoundError("No module named 'prodigyopt'", name="prodigyopt")

    monkeypatch.setattr("engine_server.commands.models.main", lacks)
    assert main(["models"]) == 2
    assert "pip install '.[engine,train]'" in capsys.readouterr().err


def test_every_command_of_the_readme_is_one_and_knows_its_options():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    shown = [line.split()[3:] for line in lines if line.startswith("python -m engine_server ")]
    assert {words[0] for words in shown} >= {"run", "train", "evaluate", "serve", "models"}
    for command, *words in shown:
        told = engine(command, "--help")
        assert told.returncode == 0, told.stderr
        assert all(word in told.stdout for word in words if word.startswith("--")), command
