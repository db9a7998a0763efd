# SPDX-License-Identifier: GPL-3.0-or-later
"""Surfaces that a team makes of nothing: do they tile, how much detail have they, and is one a copy of what it was trained on?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import channels
from ..abilities import SYNTHESIZE, obstacle
from ..given import KEPT
from ..seamless import border_ratio
from ..tasks import USUAL_SIDE
from . import likeness, pngs, report
from .errors import DataError
from .measured import Measured
from .mending import MENDED, PLAIN
from .samples import Sample, reduce

Pictures = dict[str, np.ndarray]
MADE, HELD = "made", "held out"
TITLES = {"border": "steps across the border, of those within", "detail": "steps within, of the training maps'"}
OnCase = Callable[[int, int, str, Pictures, np.ndarray, float], None]


@dataclass
class Creation(Measured):
    """Of surfaces made by the team, and of held out ones, whose samples are `held`; `likeness[of]`: to the nearest training picture."""

    likeness: dict[str, list[float]] = field(default_factory=dict)
    held: list[dict[str, Any]] = field(default_factory=list)

    def add_surface(self, of: str, maps: Pictures, steps: dict[str, float]) -> dict[str, dict[str, float]]:
        """One surface's measures, beside the training maps' mean `steps`."""
        own = {name: measures(picture, steps.get(name, 0.0)) for name, picture in maps.items()}
        for name, values in own.items():
            self.add(name, of, values)
        return own


def evaluate_creation(
    team: Any, training: list[Sample], held: list[Sample], *, count: int, steps: int = 0, seed: int, size: int, on_case: OnCase
) -> Creation:
    """`count` surfaces that tile, of the seeds from `seed` on, size x size (0: the team's own), beside maps that were `held` out. All maps
    are reduced to that size, too: steps between the pixels of larger ones are smaller, whatever they show.

    `on_case` gets index from 1, count, name, the maps made, the albedo of the training sample that is most similar, and seconds.
    Raises DataError where no training sample has an albedo, or for a team that does not synthesize surfaces.
    """
    why = obstacle(SYNTHESIZE, team.teammates, team.manner(SYNTHESIZE))
    if why or "albedo.out" not in team.teammates:
        raise DataError(f"The team does not make surfaces of nothing: {why or 'it has no teammate albedo.out'}.")
    known = [sample for sample in training if "albedo" in sample.maps]
    if not known:
        raise DataError("No sample has an albedo, so there is nothing that a surface could be a copy of.")
    steps_of: dict[str, list[float]] = {}
    size = size or team.native_size or USUAL_SIDE
    gallery = likeness.Gallery(_albedos(training, size, steps_of))
    usual = {name: float(np.mean(values)) for name, values in steps_of.items()}
    found = Creation()
    for index in range(1, count + 1):
        start = time.perf_counter()
        made = create(team, {"steps": steps, "seed": seed + index - 1, "size": size})
        seconds = time.perf_counter() - start
        like, nearest = gallery.nearest(made["albedo"])
        found.likeness.setdefault(MADE, []).append(like)
        record = {"seed": seed + index - 1, "measures": found.add_surface(MADE, made, usual), "nearest": known[nearest].name}
        found.cases.append(record | {"likeness": like, "seconds": seconds})
        on_case(index, count, f"seed {seed + index - 1}", made, _maps(known[nearest], size)["albedo"], seconds)
    for sample in held:
        maps = _maps(sample, size)
        record = {"name": sample.name, "measures": found.add_surface(HELD, maps, usual)}
        if "albedo" in maps:
            like, nearest = gallery.nearest(maps["albedo"])
            found.likeness.setdefault(HELD, []).append(like)
            record |= {"nearest": known[nearest].name, "likeness": like}
        found.held.append(record)
    return found


def create(team: Any, options: dict[str, Any]) -> Pictures:
    """A surface that tiles, as the task `synthesize` makes it: its maps, H x W x 3 in the model's encoding."""
    from blender_addon.wire import Submit

    from ..errors import TaskError
    from ..synthesis import Synthesis
    from ..tasks import TASKS

    wanted = tuple(name for name in MENDED if f"{name}.out" in team.teammates)
    job = Submit("evaluate", SYNTHESIZE, "", {}, wanted, options | {"surface": 1, "seamless": KEPT})
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


def _albedos(samples: list[Sample], size: int, steps: dict[str, list[float]]) -> Iterator[np.ndarray]:
    """The albedo of each sample that has one; `steps` gets those of all maps that are read on the way."""
    for sample in samples:
        maps = _maps(sample, size)
        for name, picture in maps.items():
            steps.setdefault(name, []).append(_step(picture))
        if "albedo" in maps:
            yield maps["albedo"]


def table(found: Creation) -> str:
    """The printed report."""
    columns = [MADE, *([HELD] if HELD in found.likeness else [])]
    rows = [["map", "measure", *columns, ""]]
    for name in found.measures:
        for measure, title in TITLES.items():
            values = [float(np.median(found.values(name, of, measure) or [np.nan])) for of in columns]
            if not np.isnan(values[0]):
                rows.append([name, f"{title} (median)", *(f"{value:.3f}" for value in values), ""])
    for title, pick in (("mean", np.mean), ("largest", np.max)):
        likes = [f"{pick(found.likeness[of]):.3f}" for of in columns]
        rows.append(["albedo", f"likeness to the most similar training picture, {title}", *likes, ""])
    count = len(found.cases)
    return report.lines(f"{count} surface{'s' if count != 1 else ''} made of nothing", rows)
