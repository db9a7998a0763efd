# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects `evaluate --synthesis`: copies are found whatever was done to them, measures of borders and detail, the command."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image

from engine_server.commands import evaluate as command
from engine_server.diffusion.loading import load_team
from engine_server.evaluate import creating, likeness
from engine_server.evaluate.samples import find_samples
from engine_server.upsample import resize_bilinear
from tests.core.tiny import tiny_adapter, tiny_base


def clouds(seed: int, side: int = 96) -> np.ndarray:
    """A picture with coarse and fine detail, grey."""
    random = np.random.default_rng(seed)
    layers = [resize_bilinear(random.random((n, n, 1), np.float32), side, side) for n in (6, 12, 24)]
    return np.repeat(sum(layers) / 3, 3, -1)


def test_a_copy_is_found_turned_mirrored_shifted_and_in_other_colours():
    pictures = [clouds(seed) for seed in range(6)]
    gallery = likeness.Gallery(pictures)
    tint = np.float32([0.2, 0.5, 0.9])
    for change in (lambda p: p, np.rot90, lambda p: p[:, ::-1], lambda p: np.rot90(p[::-1], 3) * tint + 0.05, lambda p: p[12:]):
        like, which = gallery.nearest(change(pictures[4]))
        assert which == 4 and like > (0.6 if change(pictures[4]).shape[0] < 96 else 0.99)
    shifted, which = gallery.nearest(np.roll(pictures[2], (12, -9), (0, 1)))
    assert which == 2 and shifted > 0.99
    others = [gallery.nearest(clouds(seed))[0] for seed in range(20, 26)]
    assert 0.1 < min(others) and max(others) < 0.75
    assert gallery.nearest(np.full((96, 96, 3), 0.4, np.float32))[0] == 0.0


def test_likeness_is_that_of_a_slow_loop():
    gallery = likeness.Gallery([clouds(0)])
    piece = likeness._small(clouds(9))[16:48, 16:48]
    piece = (piece - piece.mean()) / np.linalg.norm(piece - piece.mean())
    picture, places = likeness._small(clouds(0)), []
    for y in range(33):
        for x in range(33):
            window = picture[y : y + 32, x : x + 32] - picture[y : y + 32, x : x + 32].mean()
            places.append(np.sum(window * piece) / np.linalg.norm(window))
    assert gallery._likest(piece)[0] == pytest.approx(max(places), rel=1e-6)


def test_borders_and_detail_are_measured():
    ramp = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32)[:, None, None], (64, 64, 3))
    noise = np.random.default_rng(0).random((64, 64, 3), np.float32)
    assert creating.measures(ramp, 0.0)["border"] > 20
    own = creating.measures(noise, 1 / 6)  # the mean difference of two neighbours of even noise is a third
    assert own["border"] == pytest.approx(1.0, abs=0.15) and own["detail"] == pytest.approx(2.0, rel=0.05)
    assert creating.measures(np.full((8, 8, 3), 0.5, np.float32), 0.0) == {}


def _run(*options) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(option) for option in options]))


def test_the_command_makes_surfaces_and_shows_the_nearest(write, tmp_path, capsys):
    adapter = tiny_adapter(tiny_base("SD3", tmp_path / "base"), tmp_path / "a.safetensors", teammates=("albedo.out", "roughness.out"))
    for name, folder in (("stone", "train"), ("wood", "train"), ("slate", "held")):
        write.sample(tmp_path / folder / name, size=(96, 96))
        grain = (clouds(len(name)) * 255).astype(np.uint8)
        Image.fromarray(grain).save(tmp_path / folder / name / "albedo.png")
    files = tmp_path / "scores.json", tmp_path / "sheet.png"
    options = ["--team", tmp_path / "base", "--adapter", adapter, "--steps", 2, "--size", 32, "--data", tmp_path / "train"]
    options += ["--synthesis", 3, "--held-out", tmp_path / "held", "--json", files[0], "--contact-sheet", files[1]]
    assert _run(*options) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("3 surfaces made of nothing") and "most similar" in printed.out and "held out" in printed.out
    stored = json.loads(files[0].read_text())
    assert [surface["seed"] for surface in stored["surfaces"]] == [0, 1, 2] and stored["surfaces"][0]["nearest"] in ("stone", "wood")
    assert stored["settings"]["steps"] == 2 and [sample["name"] for sample in stored["held_out"]] == ["slate"]
    assert f"{stored['held_out'][0]['likeness']:.3f}" in printed.out and "albedo" in stored["held_out"][0]["measures"]
    with Image.open(files[1]) as picture:
        assert 4 * 128 < picture.width < 5 * 140  # four tiles, two maps, and the nearest albedo
    assert _run(*options) == 0 and capsys.readouterr().out == printed.out


def test_a_team_that_makes_no_surfaces_has_a_sentence(write, tmp_path, capsys):
    adapter = tiny_adapter(tiny_base("SD3", tmp_path / "base"), tmp_path / "a.safetensors", teammates=("image.in", "depth.out"))
    write.sample(tmp_path / "data" / "stone")
    assert _run("--team", tmp_path / "base", "--adapter", adapter, "--data", tmp_path / "data", "--synthesis", 1) == 2
    assert "does not make surfaces of nothing" in capsys.readouterr().err


def test_what_is_measured_is_made_to_tile(tmp_path, monkeypatch):
    adapter = tiny_adapter(tiny_base("SD3", tmp_path / "base"), tmp_path / "a.safetensors", teammates=("albedo.out", "roughness.out"))
    team, asked = load_team(tmp_path / "base", adapter), []
    run = team.run
    monkeypatch.setattr(team, "run", lambda *words, **settings: asked.append(settings) or run(*words, **settings))
    creating.create(team, {"steps": 1, "seed": 0, "size": 32})
    assert [settings["periodic"] for settings in asked] == [True]


def test_without_a_size_detail_is_compared_at_the_size_of_what_is_made(write, tmp_path):
    """Held out maps that are four times as wide as the team's, and the very training maps: their detail is the usual one."""
    write.sample(tmp_path / "data" / "stone")
    Image.fromarray((clouds(1, 128) * 255).astype(np.uint8)).save(tmp_path / "data" / "stone" / "albedo.png")
    for name in ("flash", "env", "image", "roughness", "metalness", "normals"):
        if (file := tmp_path / "data" / "stone" / f"{name}.png").exists():
            Image.new("RGB", (128, 128)).save(file)
    adapter = tiny_adapter(tiny_base("SD3", tmp_path / "base"), tmp_path / "a.safetensors", teammates=("albedo.out", "roughness.out"))
    team, samples = load_team(tmp_path / "base", adapter), find_samples(tmp_path / "data")
    team.native_size = 32
    details = []
    for size in (0, 32):
        found = creating.evaluate_creation(team, samples, samples, count=1, steps=1, seed=0, size=size, on_case=lambda *case: None)
        assert found.held[0]["measures"]["albedo"]["detail"] == pytest.approx(1.0)
        details.append(found.cases[0]["measures"]["albedo"]["detail"])
    assert details[0] == pytest.approx(details[1])
