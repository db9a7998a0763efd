# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs a trained base and team into a folder that `load_team` takes by name: float16, in shards, with its facts.

    python -m engine_server.train.bundle --base runs/nano/base --team runs/nano/materials --data data/materials/train \\
        --also scenes=runs/nano/scenes=decompose,shade --out DIR
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..channels import CHANNELS
from ..diffusion.loading import load_base
from ..tasks import TASKS
from ..teamwork.checkpoint import load_checkpoint, read_checkpoint, write_checkpoint
from ..teamwork.shrink import cut_rank, in_eight_bits
from .base import save_base
from .errors import ConfigError, in_a_sentence, require_folder
from .files import SUFFIXES, load_picture
from .packed import pack_files, read_pack

FOLDERS = {
    "base": "the base, as training left it",
    "team": "what training left of the usual adapter: the folder with its team.safetensors",
    "data": "the samples that it was trained on, for the means of their maps",
    "out": "folder for all of it, named as the team shall be",
}
OWN = {
    "turns": "average its answers over so many quarter turns",
    "shifts": "average them over so many small shifts",
    "lapped": "1: average over shifted patch grids, so that no edges show",
    "most-steps": "it takes no more steps than that",
}
MAPS = ("albedo", "roughness", "metalness", "depth", "diffuseshading")


def mean_maps(folder: Path) -> dict[str, float | list[float]]:
    """The mean of each map over a training folder, of samples or of packs, in model encoding: what a naive answer would be.

    Raises `ConfigError` for a folder without any of them.
    """
    means: dict[str, float | list[float]] = {}
    packs = [read_pack(path) for path in pack_files(folder)]
    for name in MAPS:
        colours = [_unpacked(row).mean((0, 1), np.float64) for pack in packs for row in pack.get(name, ())]
        files = sorted(file for file in folder.glob(f"*/{name}.*") if file.suffix.lower() in SUFFIXES)
        if colours := [*colours, *(load_picture(file, name).mean((0, 1), np.float64) for file in files)]:
            mean = np.mean(colours, axis=0)
            means[name] = mean.tolist() if CHANNELS[name].components == 3 else float(mean.mean())
    if not means:
        raise ConfigError(f"{folder} holds none of {', '.join(MAPS)}, of which the means are taken; expected samples or packs.")
    return means


def _unpacked(row: torch.Tensor) -> np.ndarray:
    """C x H x W bytes of a pack as H x W x 3 in 0..1."""
    return row.expand(3, -1, -1).permute(1, 2, 0).numpy() / np.float32(255)


def bundle(
    bases: dict[str, Path],
    adapters: dict[str, Path],
    out: Path,
    facts: dict,
    ranks: dict[str, int] | None = None,
    small: Collection[str] = (),
) -> None:
    """Write one folder for each base, one file for each adapter (from the folder of its training), and team.json.

    `bases` are by name; the adapter of the name NAME is for the base "NAME_base" if there is one, else for "base". Those that `ranks`
    names are shrunk: cut to that rank, in eight bits. The networks of the bases `small` are written with weights of eight bits.
    """
    for name, base in bases.items():
        frozen = load_base(base)
        frozen.network.half(), frozen.vae.half()
        if name in small:
            in_float8(frozen.network)
        save_base(frozen, out / name)
        forget_places(out / name)
    for name, folder in adapters.items():
        checkpoint = read_checkpoint(folder / "team.safetensors")
        load_checkpoint(load_base(bases.get(f"{name}_base", bases["base"])).network, checkpoint, torch.float32)
        if rank := (ranks or {}).get(name):
            checkpoint = in_eight_bits(cut_rank(checkpoint, rank))
        config = dataclasses.replace(checkpoint.config, base_model=out.name)
        write_checkpoint(dataclasses.replace(checkpoint, path=out / f"{name}.safetensors", config=config), torch.float16)
    write_json(out / "team.json", facts)


def in_float8(network: torch.nn.Module) -> None:
    """Weights, but for those of norms and biases, as `float8_e4m3fn`: a byte each, from which diffusers makes what is asked for."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.to(torch.float8_e4m3fn)


def forget_places(base: Path) -> None:
    """Take out of a base's files where on this computer its parts came from."""
    for file in base.glob("*/config.json"):
        config = json.loads(file.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        write_json(file, config)


def parts(form: str, kind: Callable[[str], Any] = str) -> Callable[[str], tuple]:
    """For argparse: what reads an entry of such a form, NAME=N or NAME=FOLDER=TASK,TASK, its last part as of that kind."""

    def read_entry(text: str) -> tuple:
        *first, last = text.split("=")
        try:
            if len(first) == form.count("=") and all((*first, last)):
                return (*first, kind(last))
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}")

    return read_entry


def write_json(path: Path, content: dict) -> None:
    """As text that people can read."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine_server.train.bundle", description=__doc__.split("\n")[0])
    for name, meaning in FOLDERS.items():
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR", help=meaning)
    parser.add_argument("--scenes", type=Path, metavar="DIR", help="training scenes, for the means of their channels")
    _add_list(parser, "also", "NAME=FOLDER=TASK,TASK", "a further adapter")
    _add_list(parser, "other-base", "NAME=FOLDER", "a base that is that adapter's own")
    parser.add_argument("--title", default="Teamwork nano", help="what people read (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1, help="the default number of denoising steps")
    parser.add_argument("--zero-start", action="store_true", help="the team was trained to start from zero noise")
    parser.add_argument("--tile", action="store_true", help="larger pictures are made of tiles of the native size")
    for name, meaning in OWN.items():
        _add_list(parser, name, "NAME=N", f"of an adapter: {meaning}", int)
    _add_list(parser, "detail", "NAME=SHARE", "of the photo's detail for an adapter's albedo", float)
    _add_list(parser, "shrink", "NAME=RANK", "cut an adapter's rank, in eight bits", int)
    parser.add_argument("--float8", action="append", default=[], metavar="NAME", help="an adapter whose own base is written in eight bits")
    _add_list(parser, "always", "NAME=CHANNEL", "what an adapter makes in every run")
    _add_list(parser, "task", "TASK=STEPS", "a task that starts from noise, in so many steps", int)
    return parser


def _add_list(parser: argparse.ArgumentParser, name: str, form: str, meaning: str, kind: Callable[[str], Any] = str) -> None:
    parser.add_argument(f"--{name}", action="append", default=[], metavar=form, type=parts(form, kind), help=meaning)


def main(argv: list[str] | None = None) -> int:
    """The command line; a mistake is one sentence on the error stream and 2."""
    args = _arguments().parse_args(argv)
    return in_a_sentence(lambda: _bundle(args))


def _bundle(args: argparse.Namespace) -> None:
    adapters = {"team": args.team} | {name: Path(folder) for name, folder, _ in args.also}
    bases = {"base": args.base} | {f"{name}_base": Path(folder) for name, folder in args.other_base}
    for folder in (*bases.values(), *adapters.values(), args.data, *([args.scenes] if args.scenes else [])):
        require_folder(folder, "name those that training left, and the samples that it saw")
    _check(args, adapters, bases)
    means = mean_maps(args.data), mean_maps(args.scenes) if args.scenes else {}
    bundle(bases, adapters, args.out, _facts(args), dict(args.shrink), [f"{name}_base" for name in args.float8])
    write_json(args.out / "naive_means.json", means[0])
    if args.scenes:
        write_json(args.out / "naive_means_scenes.json", means[1])


def _check(args: argparse.Namespace, adapters: Collection[str], bases: Collection[str]) -> None:
    """Raises `ConfigError` for an option about an adapter, a base or a task that there is not, which would do nothing."""
    if len(adapters) <= len(args.also):
        raise ConfigError("--also names an adapter twice, or one 'team', which is that of --team; give each a name of its own.")
    if missing := [name for name in args.float8 if f"{name}_base" not in bases]:
        raise ConfigError(f"--float8 {missing[0]}: there is no --other-base of that name; give one.")
    for option in (*OWN, "detail", "shrink", "always", "other-base"):
        for name, *_ in getattr(args, option.replace("-", "_")):
            if name not in adapters:
                raise ConfigError(f"--{option} {name}: there is no adapter of that name; there are {', '.join(adapters)}.")
    for task in (*(task for *_, tasks in args.also for task in tasks.split(",")), *(task for task, _ in args.task)):
        if task not in TASKS:
            raise ConfigError(f"There is no task {task!r}; the tasks are {', '.join(TASKS)}.")
    if wrong := [steps for steps in (args.steps, *(steps for _, steps in args.task)) if steps < 1]:
        raise ConfigError(f"A team of {wrong[0]} steps cannot be; give 1 or more.")


def _facts(args: argparse.Namespace) -> dict[str, Any]:
    """What team.json says."""
    facts = {
        "title": args.title,
        "licence": "GPL-3.0-or-later",
        "native_size": 256,
        "default_steps": args.steps,
        "zero_start": args.zero_start,
        "tile": args.tile,
        "adapters": {task: f"{name}.safetensors" for name, _, tasks in args.also for task in tasks.split(",")},
    }
    for name in (option.replace("-", "_") for option in OWN):
        facts[name] = {f"{adapter}.safetensors": number for adapter, number in getattr(args, name)}
    facts["always"] = {f"{name}.safetensors": [channel] for name, channel in args.always}
    facts["detail"] = {f"{name}.safetensors": share for name, share in args.detail}
    facts["tasks"] = {task: {"steps": steps, "zero_start": False} for task, steps in args.task}
    facts["bases"] = {f"{name}.safetensors": f"{name}_base" for name, _ in args.other_base}
    return facts


if __name__ == "__main__":
    sys.exit(main())
