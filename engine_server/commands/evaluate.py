# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server evaluate`: how good a team is on pictures with known maps."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import models
from ..evaluate import creating, mending, naive, report, shading, sheet
from ..evaluate.errors import DataError
from ..evaluate.lpips import Lpips
from ..evaluate.runner import Evaluation, Expert, Team, evaluate
from ..evaluate.samples import EXPECTED, Case, Sample, case_keys, check_whole, find_samples, left_out
from ..teamwork import TeamError, load_team

SHEET_ROWS = 8
Result = tuple[Evaluation, Evaluation | None]
"""The maps, and what was shaded."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.description = f"Scores a team beside naive answers; {EXPECTED}."
    parser.add_argument("--team", default="nano", help="a team's name (default: nano, the bundled one), or a base")
    parser.add_argument(
        "--adapter", metavar="FILE", help="a Teamwork checkpoint for the base that --team names, or one of that team by its name"
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="one sample, a folder of samples, or nested folders"
    )
    parser.add_argument(
        "--steps",
        type=_numbers,
        default=(0,),
        metavar="N[,N...]",
        help="denoising steps (default: the team's own); several, such as 1,2,4,8, give a table with a column for each",
    )
    parser.add_argument(
        "--holes", action="store_true", help="instead of what photos tell: how well holes in the true maps are filled"
    )
    parser.add_argument(
        "--synthesis",
        type=_whole,
        default=0,
        metavar="N",
        help="instead: N surfaces made of nothing; --data holds what the team was trained on, of which none shall be a copy",
    )
    parser.add_argument("--held-out", type=Path, metavar="DIR", help="with --synthesis: other surfaces, for comparison")
    parser.add_argument("--lpips", action="store_true", help="measure LPIPS, too; its weights are fetched the first time")
    parser.add_argument(
        "--seed", type=_whole, default=0, help="seed of the noise and of the contact sheet's choice (default: 0)"
    )
    parser.add_argument(
        "--size",
        type=_whole,
        default=256,
        help="reduce larger pictures to this longer side; 0 keeps their size, and with --synthesis is the team's own (default: 256)",
    )
    parser.add_argument("--limit", type=_whole, default=0, metavar="N", help="only the first N samples by name (default: 0, all)")
    parser.add_argument("--device", default="cpu", help="where the team runs, such as cpu or cuda (default: cpu)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measure of every sample")
    parser.add_argument(
        "--contact-sheet",
        type=Path,
        metavar="FILE.png",
        help=f"a picture of {SHEET_ROWS} samples: photo, predicted and true maps",
    )


def _whole(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _numbers(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between, each once, for argparse."""
    return tuple(dict.fromkeys(map(_whole, text.split(","))))


def main(args: argparse.Namespace) -> int:
    """Runs the command; 0 when the tables were printed, 2 after a sentence on what to mend."""
    try:
        _check(args)
        samples = find_samples(args.data)[: args.limit or None]
        check_whole(samples)
        _run(args, samples)
    except (DataError, TeamError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raises DataError for options of which one would do nothing beside the others."""
    if args.contact_sheet and args.contact_sheet.suffix.lower() != ".png":
        raise DataError(f"--contact-sheet is {args.contact_sheet}; it is a PNG, so name a file that ends in .png.")
    other = "--holes" if args.holes else "--synthesis" if args.synthesis else ""
    if args.holes and args.synthesis:
        raise DataError("--holes and --synthesis measure different things; give one of them.")
    if args.held_out and not args.synthesis:
        raise DataError("--held-out is for comparison with --synthesis; give that, too, or leave it out.")
    if other and args.lpips:
        raise DataError(f"--lpips does nothing with {other}; leave it out.")
    if other and len(args.steps) > 1:
        raise DataError(f"--steps takes one number with {other}; run it once for each.")


def _run(args: argparse.Namespace, samples: list[Sample]) -> None:
    if args.holes:
        _mend(args, samples)
        return
    if args.synthesis:
        _create(args, samples)
        return
    evaluator = Evaluator(args, samples)
    done = {steps: evaluator.evaluated(steps) for steps in args.steps}
    _publish(args, done, evaluator.rows)


def _mend(args: argparse.Namespace, samples: list[Sample]) -> None:
    shown, rows = sheet.choose(len(samples), SHEET_ROWS if args.contact_sheet else 0, args.seed), []

    def on_case(index: int, count: int, name: str, pictures: tuple, seconds: float) -> None:
        made, truth, hole = pictures
        _progress(index, count, name, seconds)
        if index in shown:
            rows.append(sheet.Row(name, mending.cut(truth, hole), made, truth))

    settings = {"steps": args.steps[-1], "seed": args.seed, "size": args.size}
    found = mending.evaluate_mending(_team(args, "inpaint"), samples, **settings, on_case=on_case)
    print(_noted(args, mending.table(found)))
    _write(args, lambda: {"settings": _settings(args) | {"steps": args.steps[-1]}, "samples": found.cases}, rows)


def _create(args: argparse.Namespace, samples: list[Sample]) -> None:
    shown, rows = sheet.choose(args.synthesis, SHEET_ROWS if args.contact_sheet else 0, args.seed), []

    def on_case(index: int, count: int, name: str, made: dict, nearest: np.ndarray, seconds: float) -> None:
        _progress(index, count, name, seconds)
        if index in shown:
            rows.append(sheet.Row(name, np.tile(made["albedo"], (2, 2, 1)), made, {"albedo": nearest}))

    held = find_samples(args.held_out) if args.held_out else []
    check_whole(held)
    settings = {"count": args.synthesis, "steps": args.steps[-1], "seed": args.seed, "size": args.size}
    found = creating.evaluate_creation(_team(args, "synthesize"), samples, held, **settings, on_case=on_case)
    print(_noted(args, creating.table(found)))
    content = {"settings": _settings(args) | {"steps": args.steps[-1]}, "surfaces": found.cases, "held_out": found.held}
    _write(args, lambda: content, rows, ("four tiles", "made", "nearest"))


def _noted(args: argparse.Namespace, table: str) -> str:
    """A table with a note below where pictures in the folder are not read."""
    return "\n\n".join([table, *(f"note: {note}" for note in left_out(args.data))])


class Evaluator:
    """What all numbers of steps have in common: the teams, loaded once, and what is shown on the contact sheet."""

    def __init__(self, args: argparse.Namespace, samples: list[Sample]) -> None:
        self.args, self.samples = args, samples
        self.lpips = Lpips() if args.lpips else None
        self.notes = left_out(args.data)
        self.means, self.team = self._means(naive.MEANS_FILE), _team(args)
        self.experts = self._experts()
        self.shader = self._shader()
        self.shown = sheet.choose(len(case_keys(samples)), SHEET_ROWS if args.contact_sheet else 0, args.seed)
        self.rows: list[sheet.Row] = []

    def evaluated(self, steps: int) -> Result:
        """The maps of all photos and, where there are such, the shaded scenes; the sheet shows those of the last call."""
        self.rows.clear()
        settings = {"steps": steps, "seed": self.args.seed, "size": self.args.size, "lpips": self.lpips}
        maps = evaluate(
            self.team, self.samples, means=self.means, experts=self.experts, on_case=self._on_case, **settings
        )
        maps.notes += self.notes
        return maps, self._shaded(settings) if self.shader else None

    def _means(self, file: str) -> dict[str, np.ndarray]:
        """The means that lie beside the team."""
        means, note = naive.read_means(naive.folder_of(self.args.team, self.args.adapter) / file)
        self.notes += [note] if note else []
        return means

    def _experts(self) -> dict[str, Expert]:
        """Who takes renders of scenes (image.png) apart, where a team has an adapter of its own for them."""
        if self.args.adapter or not any("image" in sample.photos for sample in self.samples):
            return {}
        if not models.adapter_for(self.args.team, "decompose"):
            return {}
        return {"image": Expert(_team(self.args, "decompose"), self._means(naive.SCENE_MEANS_FILE))}

    def _on_case(self, index: int, count: int, case: Case, maps: dict[str, np.ndarray], seconds: float) -> None:
        _progress(index, count, case.name, seconds)
        if index in self.shown:
            self.rows.append(sheet.Row(case.name, case.photo, maps, case.truth))

    def _shader(self) -> Team | None:
        """Who shades noisy.png, if there are such and the team shades."""
        team = _team(self.args, "shade") if any(map(shading.can_be_shaded, self.samples)) else None
        return team if team and "inverseshading.out" in team.teammates else None

    def _shaded(self, settings: dict) -> Evaluation:
        def on_case(index, count, name, pictures, seconds):
            _progress(index, count, f"{name}/noisy", seconds)

        return shading.evaluate_shading(self.shader, self.samples, on_case=on_case, **settings)


def _team(args: argparse.Namespace, task: str = "") -> Team:
    """The team that --team and --adapter name; without an adapter the one that a bundled team has for a task."""
    file = models.adapter_for(args.team, task) if task and not args.adapter else None
    adapter = naive.folder_of(args.team) / file if file else args.adapter
    return load_team(args.team, adapter, device=args.device)


def _progress(index: int, count: int, name: str, seconds: float) -> None:
    print(f"{index}/{count} {name}: {seconds:.1f} s", file=sys.stderr, flush=True)


def _publish(args: argparse.Namespace, done: dict[int, Result], rows: list[sheet.Row]) -> None:
    maps, shaded = done[args.steps[-1]]
    shadings = {steps: shaded for steps, (_, shaded) in done.items()}
    several = len(done) > 1
    print(report.steps_table({steps: maps for steps, (maps, _) in done.items()}) if several else report.table(maps))
    if shaded:
        text = report.steps_table(shadings) if several else report.table(shaded)
        print(f"\nshading from noisy.png and the passes: {text}")
    _write(args, lambda: _json(args, done), rows)


def _write(args: argparse.Namespace, content: Callable[[], dict], rows: list[sheet.Row], words: tuple = sheet.WORDS) -> None:
    try:
        if args.json:
            report.write_json(args.json, content())
        if args.contact_sheet:
            sheet.write(args.contact_sheet, rows, words)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be written: {error.strerror}.") from error


def _json(args: argparse.Namespace, done: dict[int, Result]) -> dict:
    """The report of one number of steps, or `{"settings": ..., "steps": {number: report}}` of several."""
    settings = _settings(args)
    if len(done) == 1:
        steps, (maps, shaded) = next(iter(done.items()))
        return report.as_json(maps, settings | {"steps": steps}, shaded)
    return {"settings": settings | {"steps": list(done)}, "steps": {n: report.as_json(m, {}, s) for n, (m, s) in done.items()}}


def _settings(args: argparse.Namespace) -> dict:
    names = ("team", "adapter", "data", "seed", "size", "limit", "device", "lpips", "holes", "synthesis", "held_out")
    return {name: _plain(getattr(args, name)) for name in names}


def _plain(value: Path | str | int | None) -> str | int | None:
    return str(value) if isinstance(value, Path) else value
