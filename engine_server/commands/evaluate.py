# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server evaluate`: how good a team is on pictures with known maps."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .. import models
from ..evaluate import naive, report, shading, sheet
from ..evaluate.errors import DataError
from ..evaluate.runner import Evaluation, Expert, Team, evaluate
from ..evaluate.samples import EXPECTED, Sample, case_keys, find_samples
from ..teamwork import TeamError, load_team

SHEET_ROWS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.description = f"Scores a team beside naive answers; {EXPECTED}."
    parser.add_argument("--team", default="nano", help="a team's name (default: nano, the bundled one), or a base")
    parser.add_argument(
        "--adapter", type=Path, metavar="FILE", help="a Teamwork checkpoint for the base that --team names"
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="one sample, a folder of samples, or nested folders"
    )
    parser.add_argument(
        "--steps", type=_whole, default=0, metavar="N", help="denoising steps (default: the team's own)"
    )
    parser.add_argument(
        "--seed", type=_whole, default=0, help="seed of the noise and of the contact sheet's choice (default: 0)"
    )
    parser.add_argument(
        "--size",
        type=_whole,
        default=256,
        help="reduce larger pictures to this longer side; 0 keeps their size (default: 256)",
    )
    parser.add_argument("--limit", type=_whole, default=0, metavar="N", help="only the first N samples by name")
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


def main(args: argparse.Namespace) -> int:
    """Runs the command; 0 when the tables were printed, 2 after a sentence on what to mend."""
    try:
        _run(args, find_samples(args.data)[: args.limit or None])
    except (DataError, TeamError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    return 0


def _run(args: argparse.Namespace, samples: list[Sample]) -> None:
    means, note = naive.read_means()
    rows: list[sheet.Row] = []
    shown = sheet.choose(len(case_keys(samples)), SHEET_ROWS if args.contact_sheet else 0, args.seed)

    def on_case(index, count, case, maps, seconds):
        _progress(index, count, case.name, seconds)
        if index in shown:
            rows.append(sheet.Row(case.name, case.photo, maps, case.truth))

    evaluation = evaluate(
        _team(args),
        samples,
        means=means,
        experts=_experts(args, samples),
        on_case=on_case,
        **_settings(args),
    )
    evaluation.notes += [note] if note else []
    _publish(args, evaluation, _shading(args, samples), rows)


def _team(args: argparse.Namespace, task: str = "") -> Team:
    """The team that --team and --adapter name; without an adapter the one that a bundled team has for a task."""
    adapter = args.adapter or (models.adapter_for(args.team, task) if task else None)
    return load_team(args.team, adapter, device=args.device)


def _settings(args: argparse.Namespace) -> dict[str, int]:
    return {"steps": args.steps, "seed": args.seed, "size": args.size}


def _experts(args: argparse.Namespace, samples: list[Sample]) -> dict[str, Expert]:
    """Who takes renders of scenes (image.png) apart, where a team has an adapter of its own for them."""
    if args.adapter or not any("image" in sample.photos for sample in samples):
        return {}
    if not models.adapter_for(args.team, "decompose"):
        return {}
    return {"image": Expert(_team(args, "decompose"), naive.read_means(naive.SCENE_MEANS_FILE)[0])}


def _shading(args: argparse.Namespace, samples: list[Sample]) -> Evaluation | None:
    """The second table: noisy.png shaded, where there are such and the team shades."""
    samples = [sample for sample in samples if shading.can_be_shaded(sample)]
    team = _team(args, "shade") if samples else None
    if team is None or "inverseshading.out" not in team.teammates:
        return None
    progress = lambda index, count, name, pictures, seconds: _progress(index, count, f"{name}/noisy", seconds)  # noqa: E731
    return shading.evaluate_shading(team, samples, on_case=progress, **_settings(args))


def _progress(index: int, count: int, name: str, seconds: float) -> None:
    print(f"{index}/{count} {name}: {seconds:.1f} s", file=sys.stderr, flush=True)


def _publish(args: argparse.Namespace, maps: Evaluation, shaded: Evaluation | None, rows: list[sheet.Row]) -> None:
    print(report.table(maps))
    if shaded:
        print(f"\nshading from noisy.png and the passes: {report.table(shaded)}")
    names = ("team", "adapter", "data", "steps", "seed", "size", "limit", "device")
    settings = {name: _plain(getattr(args, name)) for name in names}
    try:
        if args.json:
            report.write_json(args.json, maps, settings, shaded)
        if args.contact_sheet:
            sheet.write(args.contact_sheet, rows)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be written: {error.strerror}.") from error


def _plain(value: Path | str | int | None) -> str | int | None:
    return str(value) if isinstance(value, Path) else value
