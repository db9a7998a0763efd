# SPDX-License-Identifier: GPL-3.0-or-later
"""Surfaces that a team makes of nothing: do they tile, how much detail have they, and is one a copy of what it was trained on?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import channels
from ..abilities import SYNTHESIZE, obstacle
from ..seamless import border_ratio
from . import likeness, pngs, report
from .errors import DataError
from .mending import MENDED
from .samples import Sample, reduce

Pictures = dict[str, np.ndarray]
MADE, HELD = "made", "held out"
TITLES = {"border": "steps across the border, of those within", "detail": "steps within, of the training maps'"}
PLAIN = 1e-3
"""Maps whose neighbours differ by less in the mean say nothing of borders."""
OnCase = Callable[[int, int, str, Pictures, np.ndarray, float], None]


@dataclass
class Creation:
    """`measures[map][of][measure]`: of each surface, made by the team or held out; `likeness[of]`: to the nearest training picture."""

    cases: list[dict[str, Any]] = field(default_factory=list)
    measures: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    likeness: dict[str, list[float]] = field(default_factory=dict)

    def add(self, of: str, maps: Pictures, steps: dict[str, float]) -> dict[str, dict[str, float]]:
        """One surface's measures, beside the training maps' mean `steps`."""
        own = {name: measures(picture, steps.get(name, 0.0)) for name, picture in maps.items()}
        for name, values in own.items():
            kept = self.measures.setdefault(name, {}).setdefault(of, {})
            for measure, value in values.items():
                kept.setdefault(measure, []).append(value)
        return own


def evaluate_creation(
    team: Any, training: list[Sample], held: list[Sample], *, count: int, steps: int = 0, seed: int, size: int, on_case: OnCase
) -> Creation:
    """`count` surfaces that tile, of the seeds from `seed` on, size x size (0: the team's own), beside maps that were `held` out.

    `on_case` gets index from 1, count, name, the maps made, the albedo of the training sample that is most similar, and seconds.
    Raises DataError where no training sample has an albedo, or for a team that does not synthesize surfaces.
    """
    why = obstacle(SYNTHESIZE, team.teammates, team.manner(SYNTHESIZE))
    if why or "albedo.out" not in team.teammates:
        raise DataError(f"The team does not make surfaces of nothing: {why or 'it has no teammate albedo.out'}.")
    known = [sample for sample in training if "albedo" in sample.maps]
    if not known:
        raise DataError("No sample has an albedo, so there is nothing that a surface could be a copy of.")
    usual, gallery = _usual_steps(training, size), likeness.Gallery([_maps(s, size)["albedo"] for s in known])
    found = Creation()
    for index in range(1, count + 1):
        start = time.perf_counter()
        made = create(team, {"steps": steps, "seed": seed + index - 1, "size": size})
        seconds = time.perf_counter() - start
        like, nearest = gallery.nearest(made["albedo"])
        found.likeness.setdefault(MADE, []).append(like)
        record = {"seed": seed + index - 1, "measures": found.add(MADE, made, usual), "nearest": known[nearest].name}
        found.cases.append(record | {"likeness": like, "seconds": seconds})
        on_case(index, count, f"seed {seed + index - 1}", made, _maps(known[nearest], size)["albedo"], seconds)
    for sample in held:
        maps = _maps(sample, size)
        found.add(HELD, maps, usual)
        if "albedo" in maps:
            found.likeness.setdefault(HELD, []).append(gallery.nearest(maps["albedo"])[0])
    return found


def create(team: Any, options: dict[str, Any]) -> Pictures:
    """A surface that tiles, as the task `synthesize` makes it: its maps, H x W x 3 in the model's encoding."""
    from blender_addon.wire import Submit

    from ..errors import TaskError
    from ..synthesis import Synthesis
    from ..tasks import TASKS

    wanted = tuple(name for name in MENDED if f"{name}.out" in team.teammates)
    job = Submit("evaluate", SYNTHESIZE, "", {}, wanted, options | {"surface": 1, "tile": 1})
    try:
        made, _ = Synthesis(TASKS[SYNTHESIZE], team, job).run(wanted, lambda *step: None)
    except TaskError as error:
        raise DataError(str(error)) from error
    return {name: channels.to_model(name, image) for name, image in made.items()}


def measures(picture: np.ndarray, usual: float) -> dict[str, float]:
    """How much a map's border shows where it meets itself (1: not at all), and its steps between neighbours beside the usual ones."""
    own = _step(picture)
    return ({"border": border_ratio(picture)} if own > PLAIN else {}) | ({"detail": own / usual} if usual > PLAIN else {})


def _step(picture: np.ndarray) -> float:
    """The mean difference between neighbours."""
    return float(np.mean([np.abs(np.diff(picture, axis=axis)).mean() for axis in (0, 1)]))


def _maps(sample: Sample, size: int) -> Pictures:
    return {name: reduce(pngs.read(sample.maps[name]), name, size) for name in MENDED if name in sample.maps}


def _usual_steps(samples: list[Sample], size: int) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for sample in samples:
        for name, picture in _maps(sample, size).items():
            found.setdefault(name, []).append(_step(picture))
    return {name: float(np.mean(steps)) for name, steps in found.items()}


def table(found: Creation) -> str:
    """The printed report."""
    columns = [MADE, *([HELD] if HELD in found.likeness else [])]
    rows = [["map", "measure", *columns, ""]]
    for name, kept in found.measures.items():
        for measure, title in TITLES.items():
            values = [float(np.median(kept.get(of, {}).get(measure) or [np.nan])) for of in columns]
            if not np.isnan(values[0]):
                rows.append([name, f"{title} (median)", *(f"{value:.3f}" for value in values), ""])
    for title, pick in (("mean", np.mean), ("largest", np.max)):
        likes = [f"{pick(found.likeness[of]):.3f}" for of in columns]
        rows.append(["albedo", f"likeness to the most similar training picture, {title}", *likes, ""])
    count = len(found.cases)
    return report.lines(f"{count} surface{'s' if count != 1 else ''} made of nothing", rows)
