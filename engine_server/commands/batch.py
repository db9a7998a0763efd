# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server batch`: all photos of a folder, or frames of a sequence, through a running engine."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path

from blender_addon.wire import EngineSilent, Progress, WireError

from ..batch import LAYOUTS, Batch, BatchError, Request, left_out
from ..pictures import FORMATS
from ..tasks import OPTIONS, TASKS, TEXTS
from .engine_at import add_engine_arguments, connect

AGAIN = "the same command goes on from there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.description = (
        "Sends every picture of a folder to a running engine, several at once, so that all of its workers have some, and"
        " writes what it makes in the pictures' order. What is done is not done again: an interrupted run goes on."
    )
    parser.add_argument("task", help="what the engine shall do with each, as material, decompose, shade or inpaint")
    parser.add_argument(
        "--image", action="append", required=True, metavar="CHANNEL=FOLDER", help="pictures of a given channel (PNG, JPEG, .npy)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results and their records")
    parser.add_argument("--model", default="nano", help="a model that the engine has (default: nano)")
    parser.add_argument("--request", default="all", help="wanted channels with commas between, or all (default: all)")
    parser.add_argument("--steps", type=int, help="denoising steps (default: the team's own)")
    parser.add_argument("--size", type=int, help="longest side in pixels that the network sees (default: the task's own)")
    parser.add_argument("--seed", type=int, help="seed of the noise, the same for all pictures (default: 0)")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="another option of the task, as in exposure=1.5"
    )
    parser.add_argument(
        "--folders", default=LAYOUTS[0], choices=LAYOUTS, help="a folder for each photo, or for each channel (default: photo)"
    )
    parser.add_argument("--format", default=FORMATS[0], choices=FORMATS, help="16 bits, light cut to 0..1, or exact numbers (default: png)")
    parser.add_argument("--in-flight", type=int, default=8, metavar="N", help="pictures that the engine holds at once (default: 8)")
    add_engine_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Run; 0 when all is made, 1 when some pictures were not, 2 after a sentence on what to mend, 130 after Ctrl-C."""
    try:
        _check_out(args.out)
        folders = _folders(args.image)
        batch = Batch(_request(args), folders, args.out, args.folders, args.format)
        for note in filter(None, map(left_out, folders.values())):
            print(f"note: {note}", flush=True)
        with connect(args, "batch command") as client:
            return _report(batch, batch.run(client, in_flight=max(1, args.in_flight), on_progress=_show_stage))
    except EngineSilent as error:
        return _say(f"{error} What was made is kept; {AGAIN}.", 2)
    except (BatchError, WireError, OSError) as error:
        return _say(str(error), 2)
    except KeyboardInterrupt:
        return _say(f"stopped; {AGAIN}.", 130)


def _say(sentence: str, code: int) -> int:
    print(f"batch: {sentence}", file=sys.stderr)
    return code


def _check_out(folder: Path) -> None:
    """Whether the results can go there, before any time is spent on them. Raises `BatchError`."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise BatchError(f"{nearest} is a file; --out names a folder for the results.")
    if not os.access(nearest, os.W_OK):
        raise BatchError(f"Nothing can be written into {nearest}; --out names a folder for the results that is open to you.")


def _folders(entries: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for channel, folder in map(_folder, entries):
        if channel in found:
            raise BatchError(f"--image gives {channel} twice, {found[channel]} and {folder}; give each channel once.")
        found[channel] = folder
    return found


def _folder(entry: str) -> tuple[str, Path]:
    channel, separator, folder = entry.partition("=")
    if not separator or not folder:
        raise BatchError(f"--image is {entry!r}; expected CHANNEL=FOLDER, for example image=photos.")
    return channel, Path(folder)


def _request(args: argparse.Namespace) -> Request:
    outputs = () if args.request == "all" else tuple(name.strip() for name in args.request.split(","))
    options = {name: getattr(args, name) for name in ("steps", "size", "seed") if getattr(args, name) is not None}
    return Request(args.task, args.model, outputs, options | _further(args))


def _further(args: argparse.Namespace) -> dict[str, str | float | bool]:
    """What --option says; an engine would pass over a name that is none."""
    found = dict(map(_option, args.option))
    unknown = [name for name in found if name not in (*OPTIONS, *TEXTS)]
    if unknown and args.task in TASKS:
        raise BatchError(f"There is no option {unknown[0]!r}; there are {', '.join((*OPTIONS, *TEXTS))}.")
    return found


def _option(entry: str) -> tuple[str, str | float | bool]:
    """A name and its value: a number or true or false where it is written like one, else a text."""
    name, separator, text = entry.partition("=")
    if not separator or not name:
        raise BatchError(f"--option is {entry!r}; expected NAME=VALUE, for example exposure=1.5.")
    with contextlib.suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, (int, float, bool)):
            return name, value
    return name, text


def _report(batch: Batch, made) -> int:
    before = sum(map(batch.done, batch.pieces))
    numbers = {piece.name: number for number, piece in enumerate(batch.pieces, 1)}
    if before:
        print(f"{before} of {len(numbers)} are there already", flush=True)
    failed = 0
    for piece, outcome in made:
        failed += isinstance(outcome, str)
        what = f"failed: {outcome}" if isinstance(outcome, str) else ", ".join(map(str, outcome))
        print(f"[{numbers[piece.name]}/{len(numbers)}] {piece.name}: {what}", flush=True)
    return _say(f"{failed} of {len(numbers)} could not be made; {AGAIN}.", 1) if failed else 0


def _show_stage(progress: Progress) -> None:
    if not progress.total and progress.stage != "loading":
        print(f"{progress.job_id}: {progress.stage}", flush=True)
