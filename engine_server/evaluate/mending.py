# SPDX-License-Identifier: GPL-3.0-or-later
"""Holes cut at random into true maps and filled by a team, beside a smooth membrane from the rim: does it show?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import channels
from ..membrane import filled
from . import pngs, report
from .errors import DataError
from .measured import Measured
from .samples import Sample, reduce

MENDED = ("albedo", "normals", "roughness", "metalness")
TEAM, MEMBRANE = "team", "membrane"
CUT = 0.5
"""The grey of what is cut out, on contact sheets."""
PLAIN = 1e-3
"""Maps whose neighbours differ by less in the mean, within the hole or over its rim, say nothing of either."""
TITLES = {
    "rmse": "RMSE in the hole",
    "rim": "steps across the rim, of the true ones",
    "detail": "steps within, of the true ones",
}
Pictures = dict[str, np.ndarray]
OnCase = Callable[[int, int, str, tuple[Pictures, Pictures, np.ndarray], float], None]


class Mending(Measured):
    """Of filled holes, in the model's encoding, 0..1."""

    def mean(self, name: str, answer: str, measure: str) -> float | None:
        """The mean of a measure; None where no sample said anything."""
        values = self.values(name, answer, measure)
        return float(np.mean(values)) if values else None


def evaluate_mending(team: Any, samples: list[Sample], *, steps: int = 0, seed: int, size: int, on_case: OnCase) -> Mending:
    """Every sample with maps of a surface: one hole of a twentieth to half of the picture, the same for the same seed, in all of
    its maps. `on_case` gets index from 1, count, name, (what was made, the truth, the hole) and seconds. Raises DataError where
    there are none, or for a team that does not inpaint."""
    chosen = [sample for sample in samples if any(name in sample.maps for name in MENDED)]
    if not chosen:
        raise DataError(f"No sample has any of {', '.join(MENDED)}, so there is nothing to mend.")
    found = Mending()
    for index, sample in enumerate(chosen, start=1):
        truth = {name: reduce(pngs.read(sample.maps[name]), name, size) for name in MENDED if name in sample.maps}
        hole = _hole(next(iter(truth.values())).shape[:2], [seed, index])
        start = time.perf_counter()
        made = mend(team, truth, hole, {"steps": steps, "seed": seed})
        seconds = time.perf_counter() - start
        record = _measured(found, made, truth, hole)
        found.cases.append({"name": sample.name, "hole": float(hole.mean()), "answers": record, "seconds": seconds})
        on_case(index, len(chosen), sample.name, (made, truth, hole), seconds)
    return found


def _hole(size: tuple[int, int], seed: list[int]) -> np.ndarray:
    from ..train.holes import random_hole  # imports torch

    return random_hole(size, np.random.default_rng(seed)).numpy() > 0


def mend(team: Any, maps: Pictures, hole: np.ndarray, options: dict[str, int]) -> Pictures:
    """The maps, H x W x 3 in the model's encoding, with the hole made anew, as the task `inpaint` does it."""
    from blender_addon.wire import Submit

    from ..errors import TaskError
    from ..inpainting import Inpainting
    from ..tasks import TASKS

    given = {name: channels.to_wire(name, picture) for name, picture in maps.items()}
    given["mask"] = channels.to_wire("mask", np.repeat(hole[..., None], 3, -1).astype(np.float32))
    job = Submit("evaluate", "inpaint", "", given, tuple(maps), options)
    try:
        made, _ = Inpainting(TASKS["inpaint"], team, job).run(tuple(maps), lambda *step: None)
    except TaskError as error:
        raise DataError(str(error)) from error
    return {name: channels.to_model(name, image) for name, image in made.items()}


def _measured(found: Mending, made: Pictures, truth: Pictures, hole: np.ndarray) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, true in truth.items():
        for answer, picture in ((TEAM, made[name]), (MEMBRANE, filled(true, hole))):
            own = measures(picture, true, hole)
            found.add(name, answer, own)
            record.setdefault(answer, {})[name] = own
    return record


def measures(made: np.ndarray, true: np.ndarray, hole: np.ndarray) -> dict[str, float]:
    """RMSE in the hole; and the mean difference between neighbours across its rim and within it, each divided by the true one:
    1 where the rim does not show and the new part has as much detail as the old one, 0 where it has none."""
    own = {"rmse": float(np.sqrt(np.mean((made - true)[hole] ** 2)))}
    for measure, pairs in (("rim", np.logical_xor), ("detail", np.logical_and)):
        expected = _step(true, hole, pairs)
        if expected > PLAIN:
            own[measure] = _step(made, hole, pairs) / expected
    return own


def _step(picture: np.ndarray, hole: np.ndarray, pairs: Callable) -> float:
    """Mean difference between neighbours of which both are in the hole (`and`), or one (`xor`)."""
    total, count = 0.0, 0
    for axis in (0, 1):
        difference = np.abs(np.diff(picture, axis=axis)).mean(-1)
        counted = pairs(*(np.take(hole, range(k, hole.shape[axis] - 1 + k), axis) for k in (0, 1)))
        total, count = total + float(difference[counted].sum()), count + int(counted.sum())
    return total / max(count, 1)


def table(found: Mending) -> str:
    """The printed report."""
    rows = [["map", "measure", TEAM, MEMBRANE, ""]]
    for name in found.measures:
        for measure, title in TITLES.items():
            values = [found.mean(name, answer, measure) for answer in (TEAM, MEMBRANE)]
            if None not in values:
                rows.append([name, title, *(f"{value:.3f}" for value in values), ""])
    count = len(found.cases)
    share = 100 * float(np.mean([case["hole"] for case in found.cases]))
    return report.lines(f"{count} surface{'s' if count != 1 else ''} with a hole of {share:.0f} % in the mean", rows)


def cut(truth: Pictures, hole: np.ndarray) -> np.ndarray:
    """The first of the maps with its hole, for a contact sheet."""
    return np.where(hole[..., None], np.float32(CUT), next(iter(truth.values())))
