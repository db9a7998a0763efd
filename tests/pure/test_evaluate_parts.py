# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects what `evaluate` says of a photo and the parts that a team takes it into: they add up to it."""

import numpy as np
import pytest

from engine_server import colour
from engine_server.evaluate import report
from engine_server.evaluate.runner import evaluate
from engine_server.evaluate.samples import find_samples


class Parts:
    """Takes a photo apart: the albedo is half of it (as stored), light and metalness are constants."""

    def __init__(self, light, metalness=None):
        wanted = ("albedo", "diffuseshading") + (("metalness",) if metalness is not None else ())
        self.teammates = ("image.in", *(f"{name}.out" for name in wanted))
        self.light, self.metalness = light, metalness

    def run(self, images, request, **options):
        photo = images["image"]
        answers = {"albedo": photo * 0.5, "diffuseshading": np.full_like(photo, self.light)}
        answers["metalness"] = np.full_like(photo, self.metalness or 0.0)
        return {name: answers[name] for name in request}


@pytest.mark.parametrize("metalness", [None, 0.25])
def test_how_far_a_photo_is_from_its_parts_is_told(write, tmp_path, metalness):
    write.sample(tmp_path / "s", photo=(200, 100, 50), albedo=(1, 1, 1), diffuseshading=128, metalness=0)
    evaluation = evaluate(Parts(0.6, metalness), find_samples(tmp_path))
    photo = np.array([200, 100, 50]) / 255
    reflected = colour.display_decode(photo * 0.5) * (1 - (metalness or 0.0)) * colour.display_decode(np.full(3, 0.6))
    expected = np.sqrt(np.mean((colour.display_encode(reflected) - photo) ** 2))
    (case,) = evaluation.cases
    assert case["recomposition"]["diffuse"] == pytest.approx(expected, rel=1e-4)
    assert case["recomposition"]["whole"] == pytest.approx(0.0, abs=1e-6)
    assert f"is {expected:.4f} RMSE from the photo, with the residual 0.0000 (mean of 1 photo)" in report.table(evaluation)


def test_light_that_is_too_bright_is_taken_away_by_the_residual(write, tmp_path):
    write.sample(tmp_path / "s", photo=(10, 10, 10), albedo=(200, 200, 200), diffuseshading=255)
    evaluation = evaluate(Parts(1.0), find_samples(tmp_path))
    assert evaluation.sums[0].whole == pytest.approx(0.0, abs=1e-6)


def test_a_team_without_light_tells_of_no_parts(write, tmp_path):
    write.sample(tmp_path / "s", photo=(200, 100, 50), albedo=(1, 1, 1))
    team = Parts(0.5)
    team.teammates = ("image.in", "albedo.out")
    evaluation = evaluate(team, find_samples(tmp_path))
    assert not evaluation.sums and "recomposition" not in evaluation.cases[0]
