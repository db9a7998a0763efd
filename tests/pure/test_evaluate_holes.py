# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects `evaluate --holes`: its measures against answers that are known, and the command with the bundled team."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image

from engine_server.commands import evaluate as command
from engine_server.evaluate import mending
from engine_server.membrane import filled


def box() -> np.ndarray:
    """A hole of 12 x 10 pixels in 32 x 32."""
    hole = np.zeros((32, 32), bool)
    hole[8:20, 10:20] = True
    return hole


def test_measures_of_answers_that_are_known():
    true, hole = np.random.default_rng(0).random((32, 32, 3), np.float32), box()
    assert mending.measures(true, true, hole) == {"rmse": 0.0, "rim": 1.0, "detail": 1.0}
    flat = np.where(hole[..., None], np.float32(0.5), true)
    assert mending.measures(flat, true, hole)["detail"] == 0.0
    far = np.where(hole[..., None], true + 3, true)
    own = mending.measures(far, true, hole)
    assert own["rmse"] == pytest.approx(3.0, rel=1e-5) and own["detail"] == pytest.approx(1.0, rel=1e-4) and own["rim"] > 7
    smooth = mending.measures(filled(true, hole), true, hole)
    assert smooth["detail"] < 0.4 and smooth["rim"] < 1.0
    assert set(mending.measures(flat, np.full_like(true, 0.5), hole)) == {"rmse"}  # a plain map says nothing of rim and detail


def test_steps_are_those_of_a_slow_loop():
    picture, hole = np.random.default_rng(1).random((9, 7, 3)), np.random.default_rng(2).random((9, 7)) < 0.5
    across, within = [], []
    for y in range(9):
        for x in range(7):
            for down, right in ((1, 0), (0, 1)):
                if y + down < 9 and x + right < 7:
                    pair, step = (hole[y, x], hole[y + down, x + right]), np.abs(picture[y, x] - picture[y + down, x + right]).mean()
                    (within if all(pair) else across if any(pair) else []).append(step)
    assert mending._step(picture, hole, np.logical_and) == pytest.approx(np.mean(within))
    assert mending._step(picture, hole, np.logical_xor) == pytest.approx(np.mean(across))


def _run(*options) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(option) for option in options]))


def test_the_command_tells_how_holes_are_filled(write, tmp_path, capsys):
    for name in ("stone", "wood"):
        write.sample(tmp_path / "data" / name, size=(80, 72))
        grain = np.random.default_rng(len(name)).integers(0, 256, (72, 80, 3), np.uint8)
        Image.fromarray(grain).save(tmp_path / "data" / name / "albedo.png")
    files = tmp_path / "scores.json", tmp_path / "sheet.png"
    options = ["--data", tmp_path / "data", "--holes", "--json", files[0], "--contact-sheet", files[1]]
    assert _run(*options) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("2 surfaces with a hole of ") and "steps across the rim" in printed.out and "2/2 wood" in printed.err
    stored = json.loads(files[0].read_text())
    assert stored["settings"]["holes"] and [sample["name"] for sample in stored["samples"]] == ["stone", "wood"]
    assert 0.0 < stored["samples"][0]["answers"]["team"]["albedo"]["rmse"] < 1.0
    with Image.open(files[1]) as picture:
        assert picture.width > 8 * 128
    assert _run(*options) == 0 and capsys.readouterr().out == printed.out


def test_without_maps_of_a_surface_there_is_a_sentence(write, tmp_path, capsys):
    write.sample(tmp_path / "stone", size=(24, 24))
    for name in mending.MENDED:
        (tmp_path / "stone" / f"{name}.png").unlink(missing_ok=True)
    Image.new("L", (24, 24), 90).save(tmp_path / "stone" / "depth.png")
    assert _run("--data", tmp_path, "--holes") == 2
    assert "nothing to mend" in capsys.readouterr().err
