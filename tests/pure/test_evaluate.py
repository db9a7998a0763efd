# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the arithmetic of `evaluate`, its table, its files and the naive answers.

The team here is a known equation of the photo, so that every figure of the table can be worked out by hand.
"""

import json

import numpy as np
import pytest

from engine_server import colour
from engine_server.evaluate import naive, report, sheet
from engine_server.evaluate.errors import DataError
from engine_server.evaluate.runner import EVERY, TEAM, Expert, evaluate, plan_for
from engine_server.evaluate.samples import find_samples
from engine_server.evaluate.shading import evaluate_shading, shaded

MATERIAL = ("image.in", "albedo.out", "normals.out", "roughness.out", "metalness.out")


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


# The arithmetic


def test_the_table_is_what_the_equations_say(write, tmp_path):
    write.sample(tmp_path / "s", photo=(200, 100, 50), albedo=(100, 50, 25), roughness=51, metalness=0)
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


def test_marks_and_verdicts(write, tmp_path):
    write.sample(tmp_path / "s", roughness=51)
    evaluation = evaluate(Equation(), find_samples(tmp_path), means={"roughness": np.float32(0.3)})
    better = report.as_json(evaluation, {})["better"]
    assert better["albedo: RMSE"] == TEAM
    assert better["roughness: RMSE"] == naive.TRAINING_MEAN
    assert better["metalness: RMSE"] == naive.ZERO
    assert better["normals: mean angle, degrees"] == naive.FLAT  # a tie is not a win of the network
    text = report.table(evaluation)
    assert text.startswith("1 photo\n") and "0.5500 " in text and "0.1000*" in text


def test_larger_samples_weigh_more_in_the_pool_but_not_in_the_mean(write, tmp_path):
    write.sample(tmp_path / "a", roughness=0, size=(10, 10))
    write.sample(tmp_path / "b", roughness=255, size=(20, 20))
    summary = report.summary(evaluate(Equation(), find_samples(tmp_path)))[EVERY][TEAM]["roughness"]
    assert summary["rmse"] == pytest.approx(np.sqrt((100 * 0.75**2 + 400 * 0.25**2) / 500), rel=1e-5)
    assert summary["rmse_mean_over_samples"] == pytest.approx(0.5, rel=1e-5)


def test_both_photos_are_evaluated_and_told_apart(write, tmp_path):
    write.sample(tmp_path / "s", kinds=("flash", "env"))
    write.picture(tmp_path / "s" / "env.png", (0, 0, 0))
    evaluation = evaluate(Equation(), find_samples(tmp_path))
    assert [case["name"] for case in evaluation.cases] == ["s/flash", "s/env"]
    pooled = report.summary(evaluation)
    assert pooled["flash"][TEAM]["albedo"]["rmse"] == pytest.approx(0.0, abs=1e-6)
    assert pooled["env"][TEAM]["albedo"]["rmse"] > 0.2
    text = report.table(evaluation)
    assert "2 photos\n" in text and "1 photo, only flash.png" in text and "1 photo, only env.png" in text


def test_steps_seed_and_only_the_known_maps_are_asked_for(write, tmp_path):
    write.sample(tmp_path / "s")
    (tmp_path / "s" / "normals.png").unlink()
    team = Equation()
    evaluate(team, find_samples(tmp_path), steps=7, seed=3)
    evaluate(team, find_samples(tmp_path))
    assert team.calls[0] == ((12, 16, 3), ["albedo", "roughness", "metalness"], {"seed": 3, "steps": 7})
    assert team.calls[1][2] == {"seed": 0}


def test_channels_the_team_lacks_are_left_out_with_a_note(write, tmp_path):
    write.sample(tmp_path / "s", depth=7)
    evaluation = evaluate(Equation(("image.in", "albedo.out")), find_samples(tmp_path))
    assert list(report.summary(evaluation)[EVERY][TEAM]) == ["albedo"]
    assert evaluation.notes == ["the team does not give roughness, metalness, normals, depth: left out"]
    assert "note: the team does not give roughness" in report.table(evaluation)


def test_a_sample_with_nothing_to_compare_is_left_out_with_a_note(write, tmp_path):
    write.sample(tmp_path / "a")
    write.picture(tmp_path / "b" / "flash.png", 7)
    write.picture(tmp_path / "b" / "depth.png", 7)
    evaluation = evaluate(Equation(), find_samples(tmp_path))
    assert [case["name"] for case in evaluation.cases] == ["a/flash"]
    assert evaluation.notes == ["the team does not give depth: left out", "nothing to compare in b: left out"]


def test_a_diffuse_and_specular_team_is_converted(write, tmp_path):
    grey = round(255 * 0.3 ** (1 / 2.2))
    write.sample(tmp_path / "s", albedo=(grey, grey, grey), metalness=0)
    evaluation = evaluate(
        Equation(("image.in", "diffuse.out", "specular.out", "roughness.out")), find_samples(tmp_path)
    )
    pooled = report.summary(evaluation)[EVERY][TEAM]
    assert pooled["albedo"]["rmse"] < 0.003 and pooled["metalness"]["rmse"] < 1e-4
    assert "albedo and metalness follow from the team's diffuse and specular" in evaluation.notes


def test_every_map_has_its_measures(write, tmp_path):
    write.sample(tmp_path / "s", roughness=51, size=(40, 32))
    evaluation = evaluate(Equation(), find_samples(tmp_path), lpips=lambda predicted, true: 0.25)
    pooled = report.summary(evaluation)[EVERY][TEAM]
    every = {"rmse", "rmse_mean_over_samples", "psnr", "ssim", "lpips"}
    angles = {"mean_angle", "median_angle", "share_under_11_25"}
    assert set(pooled["roughness"]) == every and set(pooled["normals"]) == every | angles
    assert set(pooled["albedo"]) == every | {"rmse_white_point"}
    assert pooled["roughness"]["psnr"] == pytest.approx(-20 * np.log10(0.55), rel=1e-4)
    assert "LPIPS" in report.table(evaluation) and pooled["albedo"]["lpips"] == 0.25


def test_pictures_too_small_for_a_measure_are_counted(write, tmp_path):
    write.sample(tmp_path / "s", size=(9, 40))
    evaluation = evaluate(Equation(), find_samples(tmp_path), lpips=lambda predicted, true: None)
    assert "SSIM needs 11 pixels: left out for 1 photos" in evaluation.notes
    assert "LPIPS needs 32 pixels: left out for 1 photos" in evaluation.notes
    assert "ssim" not in report.summary(evaluation)[EVERY][TEAM]["albedo"]


def test_maps_of_every_workflow_are_scored(write, tmp_path):
    grey = round(255 * 0.3 ** (1 / 2.2))
    write.sample(tmp_path / "s", diffuse=(grey, grey, grey))
    evaluation = evaluate(Equation(("image.in", "diffuse.out")), find_samples(tmp_path))
    assert report.summary(evaluation)[EVERY][TEAM]["diffuse"]["rmse"] < 0.003


def test_a_table_by_steps_marks_the_best_and_the_fewest_of_equals(write, tmp_path):
    write.sample(tmp_path / "s", roughness=51, size=(16, 12), albedo=(40, 50, 25))

    class Improving(Equation):
        """Its roughness is off by a half with one step, by a quarter with two and more."""

        def run(self, images, request, **options):
            answers = super().run(images, request, **options)
            return answers | {"roughness": np.full_like(images["image"], 0.2 + 0.5 / min(options["steps"], 2))}

    done = {n: evaluate(Improving(), find_samples(tmp_path), steps=n) for n in (1, 2, 4)}
    text = report.steps_table(done)
    assert text.startswith("1 photo, by denoising steps\nmap")
    row = next(line for line in text.splitlines() if line.startswith("roughness  RMSE"))
    assert row.split() == ["roughness", "RMSE", "0.5000", "0.2500*", "0.2500", "2"]
    assert "seconds per photo" in text.splitlines()[-1]


@pytest.mark.parametrize("teammates", [("image.in", "depth.out"), ("albedo.out",)])
def test_a_team_for_something_else_gets_a_sentence(teammates):
    with pytest.raises(DataError, match="its teammates are"):
        plan_for(teammates, ["albedo"])


# The naive answers, the files


def test_means_are_read_checked_and_their_absence_is_said(tmp_path):
    file = tmp_path / "naive_means.json"
    assert naive.read_means(file) == (
        {},
        f"no naive_means.json in {tmp_path.name}: the training means are not known, and left out",
    )
    file.write_text('{"albedo": [0.1, 0.2, 0.3], "roughness": 0.6, "metalness": 0.05}')
    means, note = naive.read_means(file)
    assert note is None and means["albedo"].shape == (3,) and means["roughness"] == np.float32(0.6)
    for wrong in ('{"albedo": [1, 2, 3]}', "[1]", "{", '{"roughness": "rough"}'):
        file.write_text(wrong)
        with pytest.raises(DataError, match="naive_means.json is unusable"):
            naive.read_means(file)


def test_a_map_without_a_training_mean_has_no_such_answer(write, tmp_path):
    write.sample(tmp_path / "s", roughness=51)
    evaluation = evaluate(Equation(), find_samples(tmp_path), means={"albedo": np.float32([0.2, 0.2, 0.2])})
    pooled = report.summary(evaluation)[EVERY]
    assert list(pooled[naive.TRAINING_MEAN]) == ["albedo"]
    assert evaluation.notes == ["no training mean of roughness, metalness is known: left out"]
    stored = report.as_json(evaluation, {})
    assert stored["better"]["roughness: RMSE"] == "" and "0.5500*" not in report.table(evaluation)  # alone: best of nothing


def test_json_holds_every_sample_and_the_settings(write, tmp_path):
    write.sample(tmp_path / "data" / "s", kinds=("flash", "env"))
    evaluation = evaluate(Equation(), find_samples(tmp_path / "data"))
    report.write_json(tmp_path / "out" / "scores.json", report.as_json(evaluation, {"seed": 0}))
    stored = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert [sample["photo"] for sample in stored["samples"]] == ["flash", "env"]
    assert stored["settings"] == {"seed": 0}
    assert set(stored["samples"][0]["answers"][TEAM]["albedo"]) == {"rmse", "rmse_white_point", "psnr", "ssim"}
    assert set(stored["summary"]) == {"all", "flash", "env"}


def test_the_contact_sheet_shows_each_map_beside_its_truth(write, tmp_path):
    write.sample(tmp_path / "s", roughness=51)
    rows = []
    evaluate(
        Equation(),
        find_samples(tmp_path),
        on_case=lambda index, count, case, maps, seconds: rows.append(sheet.Row(case.name, case.photo, maps, case.truth)),
    )
    picture = sheet.contact_sheet(rows)
    step, top = sheet.TILE + sheet.GAP, sheet.LABEL + sheet.TILE // 2
    centres = [picture.getpixel((sheet.GAP + column * step + sheet.TILE // 2, top)) for column in range(9)]
    assert centres[0] == (200, 100, 50) and centres[1] == centres[2] == (100, 50, 25)
    assert centres[3] == (191, 191, 191) and centres[4] == (51, 51, 51)
    assert picture.width == sheet.GAP + 9 * step


def test_the_sheets_choice_is_seeded():
    assert sheet.choose(30, 8, 1) == sheet.choose(30, 8, 1) != sheet.choose(30, 8, 2)
    assert sheet.choose(3, 8, 0) == {1, 2, 3} and sheet.choose(3, 0, 0) == set()


# Scenes


class Scenes(Equation):
    """A team for scenes: depth is a quarter, the inverse shading of what it is given as `image` and `albedo`."""

    def __init__(self):
        super().__init__(("image.in", "albedo.in", "depth.out", "inverseshading.out"))

    def run(self, images, request, **options):
        self.calls.append((sorted(images), list(request), options))
        if request == ["depth"]:
            return {"depth": np.full_like(images["image"], 0.25)}
        linear = (colour.display_decode(images[name]) for name in ("image", "albedo"))
        return {"inverseshading": colour.inverse_shading(*linear)}


def test_renders_of_scenes_are_taken_apart_by_the_expert_beside_its_own_means(write, tmp_path):
    write.sample(tmp_path / "room", kinds=("image",), depth=51)
    write.sample(tmp_path / "wall", roughness=51)
    expert = Expert(Scenes(), {"depth": np.float32(0.3)})
    evaluation = evaluate(Equation(), find_samples(tmp_path), experts={"image": expert}, means={"roughness": np.float32(0.2)})
    pooled = report.summary(evaluation)
    assert pooled["image"][TEAM]["depth"]["rmse"] == pytest.approx(0.05, rel=1e-4)
    assert pooled["image"][naive.TRAINING_MEAN]["depth"]["rmse"] == pytest.approx(0.1, rel=1e-4)
    assert pooled["flash"][TEAM]["roughness"]["rmse"] == pytest.approx(0.55, rel=1e-5)


def test_shading_is_scored_against_the_clean_render_beside_the_noisy_one(write, tmp_path):
    write.sample(tmp_path / "room", kinds=("image", "noisy"), photo=(100, 80, 60), albedo=(200, 150, 100))
    team = Scenes()
    values = report.summary(evaluate_shading(team, find_samples(tmp_path)))[EVERY]
    assert values[TEAM]["image"]["rmse"] < 1e-3  # albedo times the shading of the very same render is the render
    assert values[naive.PHOTO_ITSELF]["image"]["rmse"] == 0.0
    assert values[naive.PLAIN_DIFFUSE]["image"]["rmse"] > 0.05
    assert team.calls == [(["albedo", "image"], ["inverseshading"], {"seed": 0})]


def test_where_no_surface_is_the_render_stays(write):
    given = {"albedo": np.zeros((2, 2, 3), np.float32), "image": np.full((2, 2, 3), 0.7, np.float32)}
    given["albedo"][0, 0] = 0.5
    picture = shaded(np.full((2, 2, 3), 0.5, np.float32), given)
    assert picture[0, 0] == pytest.approx(0.5) and picture[1, 1] == pytest.approx(0.7)


def test_a_team_that_does_not_shade_is_told_apart(write, tmp_path):
    write.sample(tmp_path / "room", kinds=("image", "noisy"))
    with pytest.raises(DataError, match="does not shade"):
        evaluate_shading(Equation(), find_samples(tmp_path))
