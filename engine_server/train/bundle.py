# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs a trained base and team into a folder that `load_team` takes by name: float16, in shards, with its facts.

    python -m engine_server.train.bundle --base runs/nano/base --team runs/nano/team --data data/materials/train --out DIR
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..diffusion.loading import load_base
from ..teamwork.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from .base import save_base

MAPS = ("albedo", "roughness", "metalness")


def mean_maps(folder: Path) -> dict[str, float | list[float]]:
    """The mean of each map over a training folder, in model encoding: what a naive answer would be."""
    means: dict[str, float | list[float]] = {}
    for name in MAPS:
        files = sorted(folder.glob(f"*/{name}.png"))
        mean = np.mean([np.asarray(Image.open(f).convert("RGB"), np.float64).mean((0, 1)) / 255 for f in files], axis=0)
        means[name] = mean.tolist() if name == "albedo" else float(mean.mean())
    return means


def bundle(base: Path, team: Path, data: Path, out: Path, facts: dict) -> None:
    """Write `out`/base, team.safetensors, team.json and naive_means.json."""
    checkpoint = read_checkpoint(team / "team.safetensors")
    frozen = load_base(base)
    frozen.network.half(), frozen.vae.half()
    save_base(frozen, out / "base")
    load_checkpoint(frozen.network, checkpoint, torch.float32)
    save_checkpoint(out / "team.safetensors", frozen.network, checkpoint.config, torch.float16)
    (out / "team.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    (out / "naive_means.json").write_text(json.dumps(mean_maps(data), indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("base", "team", "data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--title", default="Teamwork nano")
    parser.add_argument("--steps", type=int, default=1, help="the default number of denoising steps")
    args = parser.parse_args()
    facts = {
        "title": args.title,
        "licence": "GPL-3.0-or-later",
        "native_size": 256,
        "default_steps": args.steps,
    }
    bundle(args.base, args.team, args.data, args.out, facts)


if __name__ == "__main__":
    main()
