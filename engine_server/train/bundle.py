# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs a trained base and team into a folder that `load_team` takes by name: float16, in shards, with its facts.

    python -m engine_server.train.bundle --base runs/nano/base --team runs/nano/materials --data data/materials/train \\
        --also scenes=runs/nano/scenes=decompose,shade --out DIR
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import torch

from ..channels import CHANNELS
from ..diffusion.loading import load_base
from ..evaluate.pngs import read
from ..teamwork.checkpoint import load_checkpoint, read_checkpoint, write_checkpoint
from ..teamwork.shrink import cut_rank, in_eight_bits
from .base import save_base

OWN = {
    "turns": "average its answers over so many quarter turns",
    "shifts": "average them over so many small shifts",
    "lapped": "1: average over shifted patch grids, so that no edges show",
    "most-steps": "it takes no more steps than that",
}
MAPS = ("albedo", "roughness", "metalness", "depth", "diffuseshading")


def mean_maps(folder: Path) -> dict[str, float | list[float]]:
    """The mean of each map over a training folder, in model encoding: what a naive answer would be."""
    means: dict[str, float | list[float]] = {}
    for name in MAPS:
        if not (files := sorted(folder.glob(f"*/{name}.png"))):
            continue
        mean = np.mean([read(f).mean((0, 1), np.float64) for f in files], axis=0)
        means[name] = mean.tolist() if CHANNELS[name].components == 3 else float(mean.mean())
    return means


def bundle(bases: dict[str, Path], adapters: dict[str, Path], out: Path, facts: dict, ranks: dict[str, int] | None = None) -> None:
    """Write one folder for each base, one file for each adapter (from the folder of its training), and team.json.

    `bases` are by name; the adapter of the name NAME is for the base "NAME_base" if there is one, else for "base". Those that `ranks`
    names are shrunk: cut to that rank, in eight bits.
    """
    for name, base in bases.items():
        frozen = load_base(base)
        frozen.network.half(), frozen.vae.half()
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


def forget_places(base: Path) -> None:
    """Take out of a base's files where on this computer its parts came from."""
    for file in base.glob("*/config.json"):
        config = json.loads(file.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        write_json(file, config)


def pairs(entries: list[str]) -> list[tuple[str, str]]:
    """Entries of the command line, NAME=VALUE each."""
    return [tuple(entry.split("=")) for entry in entries]


def write_json(path: Path, content: dict) -> None:
    """As text that people can read."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("base", "team", "data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, help="training scenes, for the means of their channels")
    parser.add_argument("--also", action="append", default=[], metavar="NAME=FOLDER=TASK,TASK", help="a further adapter")
    parser.add_argument("--other-base", action="append", default=[], metavar="NAME=FOLDER", help="a base that is that adapter's own")
    parser.add_argument("--title", default="Teamwork nano")
    parser.add_argument("--steps", type=int, default=1, help="the default number of denoising steps")
    parser.add_argument("--zero-start", action="store_true", help="the team was trained to start from zero noise")
    parser.add_argument("--tile", action="store_true", help="larger pictures are made of tiles of the native size")
    for name, meaning in OWN.items():
        parser.add_argument(f"--{name}", action="append", default=[], metavar="NAME=N", help=f"of an adapter: {meaning}")
    parser.add_argument("--detail", action="append", default=[], metavar="NAME=SHARE", help="of the photo's detail for an adapter's albedo")
    parser.add_argument("--shrink", action="append", default=[], metavar="NAME=RANK", help="cut an adapter's rank, in eight bits")
    parser.add_argument("--always", action="append", default=[], metavar="NAME=CHANNEL", help="what an adapter makes in every run")
    parser.add_argument("--task", action="append", default=[], metavar="TASK=STEPS", help="a task that starts from noise, in so many steps")
    args = parser.parse_args()
    also = [entry.split("=") for entry in args.also]
    facts = {
        "title": args.title,
        "licence": "GPL-3.0-or-later",
        "native_size": 256,
        "default_steps": args.steps,
        "zero_start": args.zero_start,
        "tile": args.tile,
        "adapters": {task: f"{name}.safetensors" for name, _, tasks in also for task in tasks.split(",")},
    }
    for name in OWN:
        name = name.replace("-", "_")
        facts[name] = {f"{adapter}.safetensors": int(number) for adapter, number in pairs(getattr(args, name))}
    facts["always"] = {f"{name}.safetensors": [channel] for name, channel in pairs(args.always)}
    facts["detail"] = {f"{name}.safetensors": float(share) for name, share in pairs(args.detail)}
    facts["tasks"] = {task: {"steps": int(steps), "zero_start": False} for task, steps in pairs(args.task)}
    ranks = {name: int(rank) for name, rank in pairs(args.shrink)}
    adapters = {"team": args.team} | {name: Path(folder) for name, folder, _ in also}
    others = dict(pairs(args.other_base))
    facts["bases"] = {f"{name}.safetensors": f"{name}_base" for name in others}
    bases = {"base": args.base} | {f"{name}_base": Path(folder) for name, folder in others.items()}
    bundle(bases, adapters, args.out, facts, ranks)
    write_json(args.out / "naive_means.json", mean_maps(args.data))
    if args.scenes:
        write_json(args.out / "naive_means_scenes.json", mean_maps(args.scenes))


if __name__ == "__main__":
    main()
