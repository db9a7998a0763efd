# SPDX-License-Identifier: GPL-3.0-or-later
"""A team and the naive answers over all samples. A team is anything with `teammates` and `run`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np

from .. import colour
from ..channels import CHANNELS, single_value
from ..derive import metalness_workflow
from . import metrics
from .adding_up import Recomposition, recomposition, sentence
from .errors import DataError
from .lpips import SMALLEST_SIDE
from .naive import naive_answers
from .samples import MAPS, PHOTOS, Case, Sample, case_keys, load_case
from .scores import Perceptual, ValuesScore, score_for

TEAM, EVERY = "team", "all"


class Team(Protocol):
    """What is evaluated: `engine_server.teamwork`'s team, or any object that behaves so."""

    teammates: tuple[str, ...]

    def run(self, images: dict[str, np.ndarray], request: list[str], **options) -> dict[str, np.ndarray]:
        """Images and answers H x W x 3 in 0..1, by channel; options are steps and seed."""


@dataclass(frozen=True)
class Plan:
    """Which maps a team answers itself, and which follow from its diffuse and specular."""

    direct: tuple[str, ...]
    derived: tuple[str, ...]

    @property
    def request(self) -> list[str]:
        """The channels to ask the team for."""
        return [*self.direct, *(("diffuse", "specular") if self.derived else ())]

    def answers(self, sample: Sample) -> bool:
        """Whether any map of the sample can be compared."""
        return any(name in sample.maps for name in (*self.direct, *self.derived))


@dataclass(frozen=True)
class Expert:
    """Who answers one kind of photo, and the means of the maps it was trained on."""

    team: Team
    means: dict[str, np.ndarray]


@dataclass
class Evaluation:
    """`cases`: one dictionary per photo. `scores[kind][answer][map]`: pooled, kind `all` or the photo's. `sums`: of the photos
    that the team took apart."""

    cases: list[dict] = field(default_factory=list)
    scores: dict[str, dict[str, dict[str, ValuesScore]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    lpips: Perceptual | None = None
    sums: list[Recomposition] = field(default_factory=list)

    def score(self, kind: str, answer: str, name: str) -> ValuesScore:
        """That pool; a new one the first time it is asked for."""
        maps = self.scores.setdefault(kind, {}).setdefault(answer, {})
        return maps.setdefault(name, score_for(name, self.lpips))


def plan_for(teammates: tuple[str, ...], wanted: list[str]) -> Plan:
    """How a team answers the wanted maps; one with diffuse and specular but no metalness is converted.

    Raises DataError for a team that takes no image or answers none of them.
    """
    outputs = {mate.removesuffix(".out") for mate in teammates if mate.endswith(".out")}
    converts = {"diffuse", "specular"} <= outputs and "metalness" not in outputs
    derived = tuple(name for name in wanted if converts and name in ("albedo", "metalness"))
    direct = tuple(name for name in wanted if name in outputs and name not in derived)
    if "image.in" not in teammates or not (direct or derived):
        raise DataError(
            f"This team takes no image or gives none of {', '.join(wanted)}; its teammates are {', '.join(teammates)}."
        )
    return Plan(direct, derived)


def answer(team: Team, photo: np.ndarray, plan: Plan, options: dict) -> dict[str, np.ndarray]:
    """The team's maps of one photo, H x W x 3 float32 in 0..1; one-component maps hold one value three times."""
    answers = team.run({"image": photo}, request=plan.request, **options)
    maps = metalness_workflow(answers) if plan.derived else answers
    return {name: _tidy(name, maps[name], photo.shape) for name in (*plan.direct, *plan.derived)}


def _tidy(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    values = colour.finite(values)
    if values.shape != shape:
        raise ValueError(f"The team's {name} has the shape {values.shape}; expected the photo's, {shape}.")
    return single_value(values).repeat(3, axis=-1) if CHANNELS[name].components == 1 else values


OnCase = Callable[[int, int, Case, dict[str, np.ndarray], float], None]


def evaluate(
    team: Team,
    samples: list[Sample],
    *,
    steps: int = 0,
    seed: int = 0,
    size: int = 256,
    means: dict[str, np.ndarray] | None = None,
    on_case: OnCase | None = None,
    experts: Mapping[str, Expert] | None = None,
    lpips: Perceptual | None = None,
) -> Evaluation:
    """Every photo of every sample through the team, scored beside the naive answers.

    steps    denoising steps, 0 for the team's default          size   longer side, 0 for the stored size
    means    the training set's mean of each map                on_case(index from 1, count, case, maps, seconds)
    experts  other teams, with their means, for some kinds of photos (flash, env, image)
    lpips    measures that distance, too
    Raises DataError for a team that answers none of the maps, and for a file that cannot be read.
    """
    metrics.check_library()
    evaluation = Evaluation(lpips=lpips)
    present = {kind for sample in samples for kind in sample.photos}
    asked = {kind: (experts or {}).get(kind) or Expert(team, means or {}) for kind in PHOTOS if kind in present}
    plans = {kind: plan_for(expert.team.teammates, _maps_beside(kind, samples)) for kind, expert in asked.items()}
    keys = [(sample, kind) for sample, kind in case_keys(samples) if plans[kind].answers(sample)]
    evaluation.notes += _notes(plans, samples) + _without_means(plans, asked)
    options = {"seed": seed} | ({"steps": steps} if steps else {})
    for index, (sample, kind) in enumerate(keys, start=1):
        case, start, expert = load_case(sample, kind, size), time.perf_counter(), asked[kind]
        maps = answer(expert.team, case.photo, plan_for(expert.team.teammates, list(case.truth)), options)
        seconds = time.perf_counter() - start
        evaluation.cases.append(_score_case(evaluation, case, maps, expert.means) | {"seconds": seconds})
        if on_case:
            on_case(index, len(keys), case, maps, seconds)
    evaluation.notes += _too_small(evaluation.cases, lpips is not None)
    evaluation.notes += [text] if (text := sentence(evaluation.sums)) else []
    return evaluation


def _maps_beside(kind: str, samples: list[Sample]) -> list[str]:
    return [name for name in MAPS if any(name in sample.maps for sample in samples if kind in sample.photos)]


def _notes(plans: dict[str, Plan], samples: list[Sample]) -> list[str]:
    answered = {name for plan in plans.values() for name in (*plan.direct, *plan.derived)}
    missing = [name for name in MAPS if any(name in sample.maps for sample in samples) and name not in answered]
    derived = {name: None for plan in plans.values() for name in plan.derived}
    notes = [f"the team does not give {', '.join(missing)}: left out"] if missing else []
    if derived:
        notes.append(f"{' and '.join(derived)} follow from the team's diffuse and specular")
    without = [s.name for s in samples if not any(plans[kind].answers(s) for kind in s.photos)]
    if without:
        notes.append(f"nothing to compare in {', '.join(without)}: left out")
    return notes


def _without_means(plans: dict[str, Plan], asked: dict[str, Expert]) -> list[str]:
    """A note for the maps that the means which are known say nothing of; flat normals stand where theirs would."""
    given = [(asked[kind].means, name) for kind, plan in plans.items() for name in (*plan.direct, *plan.derived)]
    lacking = dict.fromkeys(name for means, name in given if means and name not in means and name != "normals")
    return [f"no training mean of {', '.join(lacking)} is known: left out"] if lacking else []


def _too_small(cases: list[dict], lpips: bool) -> list[str]:
    """A note for the measures that some pictures are too small for."""
    sides = {"SSIM": metrics.SMALLEST_SSIM_SIDE} | ({"LPIPS": SMALLEST_SIDE} if lpips else {})
    counts = {name: sum(min(case["size"]) < side for case in cases) for name, side in sides.items()}
    return [f"{name} needs {sides[name]} pixels: left out for {count} photos" for name, count in counts.items() if count]


def _score_case(evaluation: Evaluation, case: Case, maps: dict[str, np.ndarray], means: dict[str, np.ndarray]) -> dict:
    record = {"name": case.name, "photo": case.kind, "size": list(case.photo.shape[1::-1]), "answers": {}}
    for name, predicted in maps.items():
        for label, values in {TEAM: predicted, **naive_answers(name, case.photo, means)}.items():
            measures = evaluation.score(case.kind, label, name).add(values, case.truth[name])
            evaluation.score(EVERY, label, name).add(values, case.truth[name])
            record["answers"].setdefault(label, {})[name] = measures
    return record | _added_up(evaluation, case.photo, maps)


def _added_up(evaluation: Evaluation, photo: np.ndarray, maps: dict[str, np.ndarray]) -> dict:
    """How far a photo is from the team's parts of it, for its record; nothing where they are not all made."""
    found = recomposition(photo, maps)
    evaluation.sums += [found] if found else []
    return {"recomposition": asdict(found)} if found else {}
