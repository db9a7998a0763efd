# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores to a table for people and to JSON for programs."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from ..whole import whole_file
from .naive import ANSWERS
from .runner import EVERY, TEAM, Evaluation
from .samples import MAPS

COLUMNS = (TEAM, *ANSWERS)


@dataclass(frozen=True)
class Measure:
    """A row of the table: its key in a score, its title, how it is written and whether more is better."""

    key: str
    title: str
    digits: int = 4
    more_is_better: bool = False


MEASURES = (
    Measure("rmse", "RMSE"),
    Measure("rmse_white_point", "RMSE, white point fitted"),
    Measure("psnr", "PSNR, dB", 2, True),
    Measure("ssim", "SSIM", 4, True),
    Measure("lpips", "LPIPS"),
    Measure("mean_angle", "mean angle, degrees", 2),
    Measure("median_angle", "median angle, degrees", 2),
    Measure("share_under_11_25", "share under 11.25 degrees", 3, True),
)


def summary(evaluation: Evaluation) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """{kind: {answer: {map: {measure: value}}}} of all pools."""
    return {
        kind: {label: {name: score.summary() for name, score in maps.items()} for label, maps in answers.items()}
        for kind, answers in evaluation.scores.items()
    }


def best_of(values: dict[str, float], measure: Measure) -> str:
    """Which answer is best by a measure; a naive answer wins a tie, since it is cheaper."""
    sign = -1.0 if measure.more_is_better else 1.0
    return min(values, key=lambda label: (sign * values[label], label == TEAM))


def table_rows(answers: dict[str, dict[str, dict[str, float]]]) -> list[list[str]]:
    """One row per map (or shaded image) and measure: map, measure, a cell per answer (* marks the best), who is better.

    An answer that stands alone is neither marked nor better.
    """
    rows = []
    for name in (name for name in (*MAPS, "image") if name in answers[TEAM]):
        for measure in MEASURES:
            values = {
                label: answers[label][name][measure.key]
                for label in COLUMNS
                if measure.key in answers.get(label, {}).get(name, {})
            }
            if values:
                rows.append([name, measure.title, *_cells(values, measure)])
    return rows


def _cells(values: dict[str, float], measure: Measure) -> list[str]:
    best = best_of(values, measure) if len(values) > 1 else ""
    cells = [
        f"{values[label]:.{measure.digits}f}{'*' if label == best else ' '}" if label in values else ""
        for label in COLUMNS
    ]
    return [*cells, best]


def table(evaluation: Evaluation) -> str:
    """The printed report: one table over all photos, and one per kind of photo where there are several kinds."""
    pooled = summary(evaluation)
    kinds = [EVERY] + [kind for kind in pooled if kind != EVERY and len(pooled) > 2]
    blocks = [_titled(kind, _count(evaluation, kind), pooled[kind]) for kind in kinds]
    return "\n\n".join([*blocks, _notes(evaluation)]).rstrip()


def _count(evaluation: Evaluation, kind: str) -> int:
    return sum(kind in (EVERY, case["photo"]) for case in evaluation.cases)


def _titled(kind: str, count: int, answers: dict) -> str:
    title = f"{count} photo{'s' if count != 1 else ''}" + ("" if kind == EVERY else f", only {kind}.png")
    return lines(title, _without_empty([["map", "measure", *COLUMNS, "better"], *table_rows(answers)]))


def lines(title: str, rows: list[list[str]]) -> str:
    """A title and rows in columns, of which all but the first two and the last hold numbers."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join([title, *("  ".join(_aligned(row, widths)).rstrip() for row in rows)])


def _without_empty(rows: list[list[str]]) -> list[list[str]]:
    """Without the columns of answers that nobody gave."""
    kept = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    return [[row[column] for column in kept] for row in rows]


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    numbers = range(2, len(row) - 1)
    return [
        cell.rjust(width) if i in numbers else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def steps_table(evaluations: dict[int, Evaluation]) -> str:
    """The team alone: a column for each number of steps, a row for each map and measure (* marks the best), and the time.

    0 stands for the team's own number of steps.
    """
    pooled = {steps: summary(evaluation)[EVERY][TEAM] for steps, evaluation in evaluations.items()}
    rows = [["map", "measure", *map(_steps_title, evaluations), "best"]]
    for name in next(iter(pooled.values())):
        for measure in MEASURES:
            values = {steps: maps[name][measure.key] for steps, maps in pooled.items() if measure.key in maps[name]}
            if values:
                rows.append([name, measure.title, *_marked(values, measure)])
    times = [f"{_seconds(evaluation):.2f} " for evaluation in evaluations.values()]
    rows.append(["", "seconds per photo, median", *times, ""])
    first = next(iter(evaluations.values()))
    count = len(first.cases)
    text = lines(f"{count} photo{'s' if count != 1 else ''}, by denoising steps", rows)
    return "\n\n".join([text, _notes(first)]).rstrip()


def _notes(evaluation: Evaluation) -> str:
    return "\n".join(f"note: {note}" for note in evaluation.notes)


def _marked(values: dict[int, float], measure: Measure) -> list[str]:
    """A cell for each number of steps, and which is best; the fewest steps win a tie."""
    best = min(values, key=lambda steps: ((-1.0 if measure.more_is_better else 1.0) * values[steps], steps))
    cells = [f"{value:.{measure.digits}f}{'*' if steps == best else ' '}" for steps, value in values.items()]
    return [*cells, _steps_title(best)]


def _steps_title(steps: int) -> str:
    return str(steps) if steps else "own"


def _seconds(evaluation: Evaluation) -> float:
    return statistics.median(case["seconds"] for case in evaluation.cases)


def as_json(evaluation: Evaluation, settings: dict, shaded: Evaluation | None = None) -> dict:
    """Everything: settings, pooled summary by kind of photo, who is better, every photo's own measures, notes.

    What was shaded, if anything, stands in the same form under `shading`.
    """
    pooled = summary(evaluation)
    rows = table_rows(pooled[EVERY])
    better = {f"{row[0]}: {row[1]}": row[-1] for row in rows}
    return {
        "settings": settings,
        "summary": pooled,
        "better": better,
        "samples": evaluation.cases,
        "notes": evaluation.notes,
    } | ({"shading": as_json(shaded, {})} if shaded else {})


def write_json(path: Path, content: dict) -> None:
    """Writes what `as_json` gives to a file, whose folder is made if need be; the file appears whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
