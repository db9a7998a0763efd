# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders with odd files among the models: every client is answered, with all the others."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from blender_addon.wire import Catalogue, Submit, Welcome
from engine_server.library import usable
from engine_server.models import BUNDLED
from engine_server.offering import TASKS, catalogue, unfit

GOOD = {"modelspec.type": "teamwork", "teamwork.teammates": "image.in,albedo.out", "base_model": "mybase", "modelspec.title": "x"}


def weights(path: Path, metadata, **tensors) -> Path:
    """A safetensors file of two by two numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    header = json.dumps({"__metadata__": metadata, "w": entry} | tensors).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    return path


def facts(folder: Path, text: str) -> None:
    """A team with these facts."""
    weights(folder / "team" / "team.safetensors", GOOD)
    (folder / "team" / "team.json").write_text(text)


def linked(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("nowhere.safetensors")


ODD = {
    "a link of a base that leads nowhere": lambda here: linked(here / "base" / "unet" / "x.safetensors"),
    "a link of a team that leads nowhere": lambda here: (facts(here, "{}"), linked(here / "team" / "base" / "x.safetensors")),
    "an adapter that is a link to nowhere": lambda here: linked(here / "odd.safetensors"),
    "no metadata": lambda here: weights(here / "odd.safetensors", None),
    "a team without metadata": lambda here: weights(here / "team" / "team.safetensors", None),
    "metadata that are no texts": lambda here: weights(here / "odd.safetensors", {"modelspec.type": 1, "teamwork.teammates": [2]}),
    "a tensor without a shape": lambda here: weights(here / "odd.safetensors", GOOD, w={}),
    "teammates that are no names": lambda here: weights(here / "odd.safetensors", GOOD | {"teamwork.teammates": "Image In"}),
    "adapters that are a list": lambda here: facts(here, '{"adapters": []}'),
    "adapters that are no files": lambda here: facts(here, '{"adapters": {"shade": 3}}'),
    "steps that are a text": lambda here: facts(here, '{"default_steps": "8"}'),
    "a size that is a text": lambda here: facts(here, '{"native_size": "512"}'),
    "bases that are a text": lambda here: facts(here, '{"bases": "base"}'),
    "a choice that is a text": lambda here: facts(here, '{"zero_start": "no"}'),
    "facts within facts": lambda here: facts(here, "[" * 100_000),
    "a name that cannot be printed": lambda here: weights(here / "two\nlines.safetensors", GOOD),
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with a base and a sound adapter for it."""
    monkeypatch.setenv("TEAMWORK_HOME", str(tmp_path / "home"))
    here = tmp_path / "models"
    weights(here / "mybase" / "transformer" / "weights.safetensors", {})
    (here / "mybase" / "transformer" / "config.json").write_text("{}")
    weights(here / "sound.safetensors", GOOD)
    return here


def told(folder: Path) -> tuple[Welcome, Catalogue]:
    """What a client is told of the models, as messages that can be sent."""
    welcome = Welcome(2, "1", "cpu", 0, 0, usable((folder,)), TASKS, "i")
    return welcome, Catalogue(catalogue((folder,)))


@pytest.mark.parametrize("odd", ODD)
def test_one_odd_file_leaves_all_the_others(folder, odd, caplog):
    (folder / "base" / "unet").mkdir(parents=True)
    (folder / "base" / "unet" / "config.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        ODD[odd](folder)
        welcome, listed = told(folder)
    assert [info.name for info in welcome.models] == [*sorted(p.name for p in BUNDLED.iterdir() if p.is_dir()), "sound"]
    assert {"sound", "mybase"} <= {entry.name for entry in listed.models}
    assert caplog.records or odd in ("no metadata", "an adapter that is a link to nowhere", "metadata that are no texts")
    assert unfit(Submit("j", "synthesize", "nobody", {}, (), {}), (folder,)).code == "unknown-model"


def test_titles_and_teammates_as_people_write_them_are_taken(folder):
    title = "two\nlines\x00 and " + "many words " * 1000
    weights(folder / "odd.safetensors", GOOD | {"modelspec.title": title, "teamwork.teammates": "image.in, albedo.out "})
    facts(folder, json.dumps({"title": title, "licence": "one\n\nother"}))
    welcome, listed = told(folder)
    models = {info.name: info for info in welcome.models}
    assert models["odd"].teammates == ("image.in", "albedo.out")
    for one in (models["odd"], models["team"], *(entry for entry in listed.models if entry.name in ("odd", "team"))):
        assert one.title.startswith("two lines and many words") and len(one.title) <= 200
    assert models["team"].licence == "one other"


def test_facts_are_read_as_a_windows_editor_saves_them_and_mistakes_in_them_are_named(folder):
    facts(folder, "\ufeff" + json.dumps({"native_size": 64}))
    assert usable((folder,))[-2].native_size == 64
    for wrong, words in (({"default_steps": "8"}, 'default_steps is "8"; expected a whole'), ({"bases": "base"}, "bases is")):
        facts(folder, json.dumps(wrong))
        assert words in unfit(Submit("j", "material", "team", {}, (), {}), (folder,)).sentence


def test_the_users_own_teams_and_adapters_in_the_homes_folder_are_offered(folder, tmp_path):
    """That is where Blender's own engine looks; what is being fetched lies there, too, and is not taken for a user's."""
    home = tmp_path / "home" / "models"
    weights(home / "mine" / "team.safetensors", GOOD)
    (home / "mine" / "base").mkdir()
    weights(home / "alone.safetensors", GOOD)
    weights(home / "half" / "team.safetensors", GOOD)
    weights(home / "flux2-klein-4b" / "transformer" / "weights.safetensors", {})
    (home / "flux2-klein-4b" / "transformer" / "config.json").write_text("{}")
    assert [info.name for info in usable((folder,))][-3:] == ["mine", "sound", "alone"]
    places = {entry.name: entry.place for entry in catalogue((folder,))}
    assert places["mine"] == places["alone"] == "in-a-folder" and "half" not in places
    assert places["flux2-klein-4b"] == "at-the-hub"


def test_more_models_than_a_message_holds_are_cut_off(folder, caplog):
    for index in range(270):
        weights(folder / f"adapter-with-quite-a-long-name-{index}.safetensors", GOOD)
    with caplog.at_level(logging.WARNING):
        welcome, listed = told(folder)
    assert len(welcome.models) == len(listed.models) == 256 and "only the first 256 are listed" in caplog.text
    sentence = unfit(Submit("j", "material", "nobody", {}, (), {}), (folder,)).sentence
    assert sentence.endswith("more.") and len(sentence) < 1500
