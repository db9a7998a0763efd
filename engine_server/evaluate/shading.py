# SPDX-License-Identifier: GPL-3.0-or-later
"""Shading from passes and a render of few rays, scored against the clean render."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from .. import channels, colour
from . import pngs
from .errors import DataError
from .naive import PHOTO_ITSELF, PLAIN_DIFFUSE
from .runner import EVERY, TEAM, Evaluation, Team
from .samples import Sample, reduce
from .scores import Perceptual

LIGHT = np.float32([0.0, 0.5, 0.866])  # from above and behind the camera, in camera space
PASSES = ("albedo", "normals", "roughness", "metalness", "depth")


def can_be_shaded(sample: Sample) -> bool:
    """Whether a sample has what shading starts from: a noisy render, its clean one, and the albedo."""
    return sample.noisy is not None and "albedo" in sample.maps


def evaluate_shading(
    team: Team,
    samples: list[Sample],
    *,
    steps: int = 0,
    seed: int = 0,
    size: int = 256,
    on_case: Callable[[int, int, str, dict[str, np.ndarray], float], None] | None = None,
    lpips: Perceptual | None = None,
) -> Evaluation:
    """Every sample that `can_be_shaded`, beside its noisy render and beside plain diffuse light.

    The map is called `image` and compared in display encoding, 0..1. `on_case` gets index from 1, count, name, the
    pictures (noisy, shaded, image) and seconds. Raises DataError for a team without the teammate inverseshading.out.
    """
    if "inverseshading.out" not in team.teammates or "image.in" not in team.teammates:
        raise DataError(f"This team does not shade; its teammates are {', '.join(team.teammates)}.")
    chosen, evaluation = [sample for sample in samples if can_be_shaded(sample)], Evaluation(lpips=lpips)
    options = {"seed": seed} | ({"steps": steps} if steps else {})
    for index, sample in enumerate(chosen, start=1):
        given, truth = load(sample, size)
        start = time.perf_counter()
        answers = {TEAM: shade(team, given, options), PHOTO_ITSELF: given["image"], PLAIN_DIFFUSE: plain_diffuse(given)}
        seconds = time.perf_counter() - start
        record = {label: {"image": evaluation.score(EVERY, label, "image").add(a, truth)} for label, a in answers.items()}
        evaluation.cases.append({"name": sample.name, "photo": "noisy", "answers": record, "seconds": seconds})
        if on_case:
            on_case(index, len(chosen), sample.name, {"noisy": given["image"], "shaded": answers[TEAM], "image": truth}, seconds)
    return evaluation


def load(sample: Sample, size: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(the noisy render as `image` and the passes, the clean render), H x W x 3 in the model's encoding."""
    files = {name: sample.maps[name] for name in PASSES if name in sample.maps} | {"image": sample.noisy}
    given = {name: reduce(pngs.read(path), name, size) for name, path in files.items()}
    return given, reduce(pngs.read(sample.photos["image"]), "image", size)


def shade(team: Team, given: dict[str, np.ndarray], options: dict) -> np.ndarray:
    """The team's picture from those of `given` that it takes."""
    taken = {name: picture for name, picture in given.items() if f"{name}.in" in team.teammates}
    return shaded(team.run(taken, ["inverseshading"], **options)["inverseshading"], given)


def shaded(inverse: np.ndarray, given: dict[str, np.ndarray]) -> np.ndarray:
    """albedo * s / (1 - s), display-encoded; where no surface is, which has an albedo of 0, the render itself."""
    light = colour.shading_from_inverse(inverse)
    picture = colour.display_encode(colour.display_decode(given["albedo"]) * light)
    return np.where(given["albedo"].max(-1, keepdims=True) > 0.0, picture, given["image"])


def plain_diffuse(given: dict[str, np.ndarray]) -> np.ndarray:
    """What needs no rays: white light from above and behind the camera on the albedo, by the cosine of the normals."""
    normals = channels.normals_decode(given["normals"]) if "normals" in given else np.zeros_like(given["albedo"]) + LIGHT
    cosine = np.clip(normals @ LIGHT, 0.0, 1.0)[..., None]
    return shaded(colour.inverse_from_shading(cosine), given)
