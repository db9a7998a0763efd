# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects `evaluate`: what it finds in folders, the arithmetic of its table, and a sentence for every wrong folder.

The team here is a known equation of the photo, so that every figure of the table can be worked out by hand.
"""

import argparse
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from engine_server import colour
from engine_server.commands import evaluate as command
from engine_server.evaluate import naive, pngs, report, sheet
from engine_server.evaluate.errors import DataError
from engine_server.evaluate.runner import EVERY, TEAM, evaluate, plan_for
from engine_server.evaluate.samples import find_samples, load_case

MATERIAL = ("image.in", "albedo.out", "normals.out", "roughness.out", "metalness.out")
FLAT = (128, 128, 255)


class Equation:
    """A team that answers by equations: albedo half the photo, constant roughness and metalness, flat normals."""

    def __init__(self, teammates=MATERIAL):
        self.teammates, self.calls = teammates, []

    def run(self, images, request, **options):
        photo = images["image"]
        self.calls.append((photo.shape, list(request), options))
        answers = {
            "albedo": photo * 0.5,
            "roughness": np.full_like(photo, 0.75),
            "metalness": np.full_like(photo, 0.25),
            "normals": np.broadcast_to(np.float32([0.5, 0.5, 1.0]), photo.shape),
            "diffuse": np.full_like(photo, colour.display_encode(np.float32(0.3))),
            "specular": np.full_like(photo, colour.display_encode(np.float32(0.04))),
        }
        return {name: answers[name] for name in request}


def _picture(path, value, size=(16, 12)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(value, int) else "RGB", size, value).save(path)


def _sample(folder, photo=(200, 100, 50), kinds=("flash",), size=(16, 12), **maps):
    for kind in kinds:
        _picture(folder / f"{kind}.png", photo, size)
    for name, value in ({"albedo": (100, 50, 25), "roughness": 128, "metalness": 0, "normals": FLAT} | maps).items():
        _picture(folder / f"{name}.png", value, size)


def _png16(path, values):
    """A 16-bit PNG by hand, since Pillow writes no 16-bit colour."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows, columns, components = values.shape
    header = struct.pack(">IIBBBBB", columns, rows, 16, {1: 0, 3: 2, 4: 6}[components], 0, 0, 0)
    data = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


# What is found

def test_one_sample_a_folder_of_samples_and_nested_folders(tmp_path):
    _sample(tmp_path / "a" / "stone")
    _sample(tmp_path / "b" / "deep" / "wood", kinds=("env", "flash"))
    assert [s.name for s in find_samples(tmp_path)] == ["a/stone", "b/deep/wood"]
    assert list(find_samples(tmp_path)[1].photos) == ["flash", "env"]
    assert [s.name for s in find_samples(tmp_path / "a" / "stone")] == ["stone"]


def test_any_subset_of_maps_is_a_sample(tmp_path):
    _picture(tmp_path / "s" / "image.png", (1, 2, 3))
    _picture(tmp_path / "s" / "roughness.png", 9)
    assert list(find_samples(tmp_path)[0].maps) == ["roughness"]


@pytest.mark.parametrize("components", [1, 3, 4])
def test_sixteen_bits_are_read_in_full(tmp_path, components):
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, components), np.uint16)
    _png16(tmp_path / "x.png", values)
    expected = values[..., :3] / 65535 if components >= 3 else values.repeat(3, axis=-1) / 65535
    np.testing.assert_allclose(pngs.read(tmp_path / "x.png"), expected, atol=1e-7)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_eight_bits_of_every_kind_are_read(tmp_path, mode):
    Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode).save(tmp_path / "x.png")
    np.testing.assert_array_equal(pngs.read(tmp_path / "x.png"), np.ones((2, 3, 3)))


def test_large_pictures_are_reduced_in_linear_light_and_small_ones_kept(tmp_path):
    stripes = np.zeros((32, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    _sample(tmp_path, size=(64, 32))
    Image.fromarray(stripes).save(tmp_path / "flash.png")
    Image.fromarray(stripes).save(tmp_path / "roughness.png")
    sample = find_samples(tmp_path)[0]
    case = load_case(sample, "flash", 32)
    assert case.photo.shape == (16, 32, 3)
    np.testing.assert_allclose(case.photo, 0.5 ** (1 / 2.2), atol=1e-5)
    np.testing.assert_allclose(case.truth["roughness"], 0.5, atol=1e-5)
    np.testing.assert_allclose(case.truth["normals"][0, 0], np.array(FLAT) / 255, atol=1e-4)
    for size in (0, 64, 500):
        assert load_case(sample, "flash", size).photo.shape == (32, 64, 3)


# What is refused

def _missing(tmp_path):
    return tmp_path / "nowhere"


def _empty(tmp_path):
    return tmp_path


def _a_file(tmp_path):
    _picture(tmp_path / "flash.png", 0)
    return tmp_path / "flash.png"


def _wrong(tmp_path):
    _picture(tmp_path / "holiday.png", 0)
    return tmp_path


def _no_truth(tmp_path):
    _picture(tmp_path / "stone" / "flash.png", 0)
    return tmp_path


def _other_size(tmp_path):
    _sample(tmp_path / "stone")
    _picture(tmp_path / "stone" / "normals.png", FLAT, (8, 8))
    return tmp_path


def _no_image(tmp_path):
    _sample(tmp_path / "stone")
    (tmp_path / "stone" / "albedo.png").write_bytes(b"not a picture")
    return tmp_path


@pytest.mark.parametrize(
    "make, words",
    [
        (_missing, "nowhere is not a folder; expected .*flash.png.*albedo.png"),
        (_empty, "is empty; expected"),
        (_a_file, "flash.png is not a folder; expected"),
        (_wrong, "holds no sample; expected"),
        (_no_truth, r"photos \(stone\) but no true maps"),
        (_other_size, "sample stone do not fit: normals.png is 8 x 8 pixels, flash.png is 16 x 12"),
        (_no_image, "albedo.png is not a readable image"),
    ],
)
def test_a_wrong_folder_gets_one_sentence_and_exit_code_two(tmp_path, capsys, make, words):
    folder = make(tmp_path)
    with pytest.raises(DataError, match=words):
        find_samples(folder)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.main(parser.parse_args(["--data", str(folder)])) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.strip().splitlines()) == 1


def test_a_picture_cut_short_gets_a_sentence(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "flash.png")
    whole = (tmp_path / "flash.png").read_bytes()
    (tmp_path / "flash.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="flash.png cannot be read"):
        pngs.read(tmp_path / "flash.png")


@pytest.mark.parametrize("option", [["--steps", "-1"], ["--size", "big"], ["--limit", "1.5"]])
def test_a_wrong_number_is_refused_by_the_parser(option, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--data", "x", *option])
    assert "not a whole number" in capsys.readouterr().err


# The arithmetic

def test_the_table_is_what_the_equations_say(tmp_path):
    _sample(tmp_path / "s", photo=(200, 100, 50), albedo=(100, 50, 25), roughness=51, metalness=0)
    means = {"albedo": np.float32([0.2, 0.2, 0.2]), "roughness": np.float32(0.3), "metalness": np.float32(0.1)}
    pooled = report.summary(evaluate(Equation(), find_samples(tmp_path), means=means))[EVERY]
    true = np.array([100, 50, 25]) / 255
    assert pooled[TEAM]["albedo"]["rmse"] == pytest.approx(0.0, abs=1e-6)
    assert pooled[naive.TRAINING_MEAN]["albedo"]["rmse"] == pytest.approx(np.sqrt(np.mean((true - 0.2) ** 2)), rel=1e-5)
    assert pooled[naive.PHOTO_ITSELF]["albedo"]["rmse"] == pytest.approx(np.sqrt(np.mean(true**2)), rel=1e-5)
    assert pooled[naive.PHOTO_ITSELF]["albedo"]["rmse_white_point"] == pytest.approx(0.0, abs=1e-6)
    assert pooled[TEAM]["roughness"]["rmse"] == pytest.approx(0.55, rel=1e-5)
    assert pooled[naive.TRAINING_MEAN]["roughness"]["rmse"] == pytest.approx(0.1, rel=1e-5)
    assert pooled[TEAM]["metalness"]["rmse"] == pytest.approx(0.25)
    assert pooled[naive.ZERO]["metalness"]["rmse"] == 0.0
    assert pooled[naive.FLAT]["normals"]["mean_angle"] < 0.4  # 128 / 255 is not quite the middle
    assert pooled[TEAM]["normals"]["share_under_11_25"] == 1.0


def test_marks_and_verdicts(tmp_path):
    _sample(tmp_path / "s", roughness=51)
    evaluation = evaluate(Equation(), find_samples(tmp_path), means={"roughness": np.float32(0.3)})
    better = report.as_json(evaluation, {})["better"]
    assert better["albedo: RMSE"] == TEAM
    assert better["roughness: RMSE"] == naive.TRAINING_MEAN
    assert better["metalness: RMSE"] == naive.ZERO
    assert better["normals: mean angle, degrees"] == naive.FLAT  # a tie is not a win of the network
    text = report.table(evaluation)
    assert text.startswith("1 photo\n") and "0.5500 " in text and "0.1000*" in text


def test_larger_samples_weigh_more_in_the_pool_but_not_in_the_mean(tmp_path):
    _sample(tmp_path / "a", roughness=0, size=(10, 10))
    _sample(tmp_path / "b", roughness=255, size=(20, 20))
    summary = report.summary(evaluate(Equation(), find_samples(tmp_path)))[EVERY][TEAM]["roughness"]
    assert summary["rmse"] == pytest.approx(np.sqrt((100 * 0.75**2 + 400 * 0.25**2) / 500), rel=1e-5)
    assert summary["rmse_mean_over_samples"] == pytest.approx(0.5, rel=1e-5)


def test_both_photos_are_evaluated_and_told_apart(tmp_path):
    _sample(tmp_path / "s", kinds=("flash", "env"))
    _picture(tmp_path / "s" / "env.png", (0, 0, 0))
    evaluation = evaluate(Equation(), find_samples(tmp_path))
    assert [case["name"] for case in evaluation.cases] == ["s/flash", "s/env"]
    pooled = report.summary(evaluation)
    assert pooled["flash"][TEAM]["albedo"]["rmse"] == pytest.approx(0.0, abs=1e-6)
    assert pooled["env"][TEAM]["albedo"]["rmse"] > 0.2
    text = report.table(evaluation)
    assert "2 photos\n" in text and "1 photo, only flash.png" in text and "1 photo, only env.png" in text


def test_steps_seed_and_only_the_known_maps_are_asked_for(tmp_path):
    _sample(tmp_path / "s")
    (tmp_path / "s" / "normals.png").unlink()
    team = Equation()
    evaluate(team, find_samples(tmp_path), steps=7, seed=3)
    evaluate(team, find_samples(tmp_path))
    assert team.calls[0] == ((12, 16, 3), ["albedo", "roughness", "metalness"], {"seed": 3, "steps": 7})
    assert team.calls[1][2] == {"seed": 0}


def test_channels_the_team_lacks_are_left_out_with_a_note(tmp_path):
    _sample(tmp_path / "s", depth=7)
    evaluation = evaluate(Equation(("image.in", "albedo.out")), find_samples(tmp_path))
    assert list(report.summary(evaluation)[EVERY][TEAM]) == ["albedo"]
    assert evaluation.notes == ["the team does not give roughness, metalness, normals, depth: left out"]
    assert "note: the team does not give roughness" in report.table(evaluation)


def test_a_diffuse_and_specular_team_is_converted(tmp_path):
    grey = round(255 * 0.3 ** (1 / 2.2))
    _sample(tmp_path / "s", albedo=(grey, grey, grey), metalness=0)
    evaluation = evaluate(Equation(("image.in", "diffuse.out", "specular.out", "roughness.out")), find_samples(tmp_path))
    pooled = report.summary(evaluation)[EVERY][TEAM]
    assert pooled["albedo"]["rmse"] < 0.003 and pooled["metalness"]["rmse"] < 1e-4
    assert "albedo and metalness follow from the team's diffuse and specular" in evaluation.notes


@pytest.mark.parametrize("teammates", [("image.in", "depth.out"), ("albedo.out",)])
def test_a_team_for_something_else_gets_a_sentence(teammates):
    with pytest.raises(DataError, match="its teammates are"):
        plan_for(teammates, ["albedo"])


# The naive answers, the files

def test_means_are_read_checked_and_their_absence_is_said(tmp_path):
    file = tmp_path / "naive_means.json"
    assert naive.read_means(file) == ({}, f"no naive_means.json in {tmp_path.name}: the training means are not known, mid grey stands in")
    file.write_text('{"albedo": [0.1, 0.2, 0.3], "roughness": 0.6, "metalness": 0.05}')
    means, note = naive.read_means(file)
    assert note is None and means["albedo"].shape == (3,) and means["roughness"] == np.float32(0.6)
    for wrong in ('{"albedo": [1, 2, 3]}', "[1]", "{", '{"roughness": "rough"}'):
        file.write_text(wrong)
        with pytest.raises(DataError, match="naive_means.json is unusable"):
            naive.read_means(file)


def test_json_holds_every_sample_and_the_settings(tmp_path):
    _sample(tmp_path / "data" / "s", kinds=("flash", "env"))
    evaluation = evaluate(Equation(), find_samples(tmp_path / "data"))
    report.write_json(tmp_path / "out" / "scores.json", evaluation, {"seed": 0})
    stored = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert [sample["photo"] for sample in stored["samples"]] == ["flash", "env"]
    assert stored["settings"] == {"seed": 0}
    assert set(stored["samples"][0]["answers"][TEAM]["albedo"]) == {"rmse", "rmse_white_point", "psnr", "ssim"}
    assert set(stored["summary"]) == {"all", "flash", "env"}


def test_the_contact_sheet_shows_each_map_beside_its_truth(tmp_path):
    _sample(tmp_path / "s", roughness=51)
    rows = []
    evaluate(Equation(), find_samples(tmp_path), on_case=lambda index, count, case, maps, seconds: rows.append(sheet.Row(case, maps)))
    picture = sheet.contact_sheet(rows)
    step, top = sheet.TILE + sheet.GAP, sheet.LABEL + sheet.TILE // 2
    centres = [picture.getpixel((sheet.GAP + column * step + sheet.TILE // 2, top)) for column in range(9)]
    assert centres[0] == (200, 100, 50) and centres[1] == centres[2] == (100, 50, 25)
    assert centres[3] == (191, 191, 191) and centres[4] == (51, 51, 51)
    assert picture.width == sheet.GAP + 9 * step


def test_the_sheets_choice_is_seeded():
    assert sheet.choose(30, 8, 1) == sheet.choose(30, 8, 1) != sheet.choose(30, 8, 2)
    assert sheet.choose(3, 8, 0) == {1, 2, 3} and sheet.choose(3, 0, 0) == set()
