# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects `python -m engine_server evaluate` from its options to its files, with a real team on a tiny seeded base."""

import argparse
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from engine_server.commands import evaluate as command
from engine_server.evaluate import naive
from engine_server.models import BUNDLED
from tests.core.tiny import tiny_adapter, tiny_base

TEAMMATES = ("image.in", "albedo.out", "normals.out", "roughness.out", "metalness.out")


@pytest.fixture(scope="module")
def tiny_team(tmp_path_factory):
    """The options that name a tiny team."""
    folder = tmp_path_factory.mktemp("team")
    adapter = tiny_adapter(tiny_base("SD3", folder), folder / "team.safetensors", teammates=TEAMMATES)
    return ["--team", str(folder), "--adapter", str(adapter), "--steps", "2"]


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


def test_several_numbers_of_steps_are_columns(tiny_team, write, tmp_path, capsys):
    write.sample(tmp_path / "data" / "stone", size=(24, 16))
    file = tmp_path / "scores.json"
    assert _run(*tiny_team, "--data", tmp_path / "data", "--steps", "1,2,4", "--json", file) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].split() == ["map", "measure", "1", "2", "4", "best"]
    stored = json.loads(file.read_text())
    assert stored["settings"]["steps"] == [1, 2, 4] and set(stored["steps"]) == {"1", "2", "4"}
    alone = {}
    for steps in (1, 4):
        assert _run(*tiny_team, "--data", tmp_path / "data", "--steps", steps, "--json", file) == 0
        alone[str(steps)] = json.loads(file.read_text())["summary"]
    assert all(alone[steps] == stored["steps"][steps]["summary"] for steps in alone)
    assert alone["1"]["all"]["team"]["albedo"]["rmse"] != alone["4"]["all"]["team"]["albedo"]["rmse"]


@pytest.mark.parametrize("steps", ["1,,2", "1;2", "-1", "1,x"])
def test_wrong_numbers_of_steps_are_refused(steps, capsys):
    with pytest.raises(SystemExit):
        _run("--data", "x", "--steps", steps)
    assert "not a whole number" in capsys.readouterr().err


def test_the_training_means_are_those_of_the_team_itself(tiny_team, write, tmp_path, capsys):
    write.sample(tmp_path / "data" / "stone", albedo=(51, 51, 51))
    file = tmp_path / "scores.json"
    team = [option.replace(tiny_team[1], str(tmp_path / "team")) for option in tiny_team]
    shutil.copytree(tiny_team[1], tmp_path / "team")
    options = [*team, "--data", tmp_path / "data", "--json", file]
    assert _run(*options) == 0
    assert "note: no naive_means.json in team" in capsys.readouterr().out
    stored = json.loads(file.read_text())
    assert naive.TRAINING_MEAN not in stored["summary"]["all"]
    (tmp_path / "team" / "naive_means.json").write_text('{"albedo": 0.3}')
    assert _run(*options) == 0
    stored = json.loads(file.read_text())
    assert stored["summary"]["all"][naive.TRAINING_MEAN]["albedo"]["rmse"] == pytest.approx(0.1, rel=1e-5)
    assert stored["notes"][0] == "no training mean of roughness, metalness is known: left out"


def test_the_bundled_team_has_its_own_means_and_a_folder_those_in_it(tmp_path):
    means, note = naive.read_means(naive.folder_of("nano") / naive.SCENE_MEANS_FILE)
    assert note is None and {"albedo", "roughness", "metalness", "depth", "diffuseshading", "inverseshading"} == set(means)
    assert naive.folder_of("nano", Path("scenes.safetensors")) == naive.folder_of("nano") == BUNDLED / "nano"
    assert naive.folder_of("someone/base", tmp_path / "run" / "team.safetensors") == tmp_path / "run"
    (tmp_path / "scenes.safetensors").touch()
    assert naive.folder_of("nano", tmp_path / "scenes.safetensors") == tmp_path
