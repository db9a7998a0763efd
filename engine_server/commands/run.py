# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server run`: given channels of one picture from files, make others, as PNG files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..failures import is_out_of_memory

if TYPE_CHECKING:
    from ..teamwork.team import Team  # which imports torch

BASE_OPTIONS = ("network", "quantization", "offload", "vae_tiling", "compile")
RUN_OPTIONS = ("steps", "solver", "seed", "prompt", "negative_prompt", "guidance", "width", "height")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.description = "Runs a team on pictures in the model's encoding and writes each requested channel as a PNG."
    parser.add_argument("--base", default="nano", help="a model by its name, a diffusers folder or a hub name (default: nano)")
    parser.add_argument("--adapter", metavar="FILE", help="a Teamwork checkpoint for the base, or one of a team by its name")
    parser.add_argument(
        "--image", action="append", default=[], metavar="CHANNEL=FILE", help="a given channel; once for each (PNG, JPEG)"
    )
    parser.add_argument("--request", default="all", help="wanted channels with commas between, or all (default: all)")
    parser.add_argument("--steps", type=int, help="denoising steps (default: the team's own)")
    parser.add_argument("--solver", help="euler, heun or dpm++, for few steps (default: the schedule of the base)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    parser.add_argument("--prompt", default="", help="in words, for bases with text encoders")
    parser.add_argument("--negative-prompt", metavar="PROMPT", help="what guidance leads away from (default: no prompt)")
    parser.add_argument("--guidance", type=float, help="scale of classifier-free guidance (default: the base's, mostly 1, none)")
    parser.add_argument("--width", type=int, help="in pixels, when no picture is given")
    parser.add_argument("--height", type=int, help="in pixels, when no picture is given")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps ... (default: cpu)")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16 (default: float32)")
    _add_memory_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")


def _add_memory_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", type=Path, metavar="FILE", help="other weights for the base: GGUF or safetensors, or a folder")
    parser.add_argument("--quantization", help="int8, float8 or nf4: quantise the network while it is loaded")
    parser.add_argument("--offload", action="store_true", help="keep each part on the device only while it works")
    parser.add_argument("--vae-tiling", action="store_true", help="let the VAE work in tiles, to save memory")
    parser.add_argument("--compile", action="store_true", help="compile the network's blocks: slow at first, then faster")


def main(args: argparse.Namespace) -> int:
    """Run; 0 when all files are written, 2 after a sentence on what to mend."""
    from ..library import Unavailable
    from ..teamwork import TeamError, load_team

    try:
        _check(args.out)
        images = _images(args.image)
        request = "all" if args.request == "all" else [name.strip() for name in args.request.split(",")]
        place = _located(args.base, args.adapter)
        team = load_team(*place, args.device, args.dtype, **_chosen(args, BASE_OPTIONS))
        if not images:
            _check_from_nothing(team)
        _spare_given(args, team.config.outputs if request == "all" else request)
        show = _progress(team.default_steps if args.steps is None else args.steps)
        result = team.run(images, request, on_step=show, **_chosen(args, RUN_OPTIONS))
        _write(args.out, result)
    except (TeamError, Unavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        print("The memory does not suffice: make smaller pictures, or try --offload and --vae-tiling.", file=sys.stderr)
        return 2
    return 0


def _check(folder: Path) -> None:
    """Whether the results can go there, before any time is spent on them."""
    if folder.exists() and not folder.is_dir():
        raise OSError(f"{folder} is a file; --out names a folder for the results.")


def _check_from_nothing(team: Team) -> None:
    from ..abilities import SYNTHESIZE, obstacle
    from ..teamwork import RequestError

    if why := obstacle(SYNTHESIZE, team.teammates, team.manner(SYNTHESIZE)):
        raise RequestError(f"The team does not make pictures of nothing: {why}; give it one with --image.")


def _spare_given(args: argparse.Namespace, names: Iterable[str]) -> None:
    """Raise `RequestError` where a result would take the place of a picture that was given."""
    from ..pictures import overwritten
    from ..teamwork import RequestError

    given = (Path(entry.partition("=")[2]) for entry in args.image)
    if sentence := overwritten((args.out / f"{name}.png" for name in names), given):
        raise RequestError(sentence)


def _chosen(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names}


def _located(base: str, adapter: str | None) -> tuple[str, str | Path | None]:
    """What to load: models by name, wherever they are; anything else as it was given."""
    from ..library import entries, locate

    known = entries()
    if adapter is None:
        place = locate(base) if base.partition("+")[0] in known else None
        return (place.base, place.adapter) if place else (base, None)
    paths = [known[str(name)].path if str(name) in known else None for name in (base, adapter)]
    return str(paths[0] or base), paths[1] or adapter


def _images(entries: list[str]) -> dict[str, np.ndarray]:
    from ..teamwork import RequestError

    names = [entry.partition("=")[0] for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RequestError(f"--image gives {twice} {names.count(twice)} times; give each channel once.")
    return dict(map(_read, entries))


def _read(entry: str) -> tuple[str, np.ndarray]:
    from ..evaluate.errors import DataError
    from ..evaluate.pngs import read
    from ..teamwork import RequestError

    name, separator, path = entry.partition("=")
    if not separator:
        raise RequestError(f"--image is {entry!r}; expected CHANNEL=FILE, for example image=photo.jpg.")
    try:
        return name, read(Path(path))
    except DataError as error:
        raise RequestError(str(error)) from error


def _progress(steps: int) -> Callable[[int, int, object], None]:
    """What prints how far a run is: in steps, or in the views of which a single step's answers are the mean."""

    def show(done: int, total: int, preview: object) -> None:
        print(f"{'view' if steps == 1 and total > 1 else 'step'} {done} of {total}", flush=True)

    return show


def _write(folder: Path, result: dict[str, np.ndarray]) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in result.items():
        path = folder / f"{name}.png"
        Image.fromarray(np.round(picture * 255).astype(np.uint8)).save(path)
        print(path)
