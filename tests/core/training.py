# SPDX-License-Identifier: GPL-3.0-or-later
"""Small training runs: six samples of 32 x 32 pixels, their configuration, and how to run it here or as a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image

from engine_server.train.config import DataSet, TrainConfig
from engine_server.train.loop import Trainer
from engine_server.train.team import stage_for

from .tiny import tiny_base

ROOT = Path(__file__).resolve().parents[2]
TEAMMATES = ("image.in", "albedo.out", "depth.out")


def write_samples(folder: Path, count: int = 6, size: int = 32) -> Path:
    """A smooth photo, its albedo, and for half of the samples a depth."""
    random = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(random.integers(0, 255, (4, 4, 3), np.uint8))
        photo = small.resize((size, size), Image.BICUBIC)
        pictures = {"flash": photo, "albedo": photo.rotate(90)} | ({"depth": photo.convert("L")} if number % 2 else {})
        (folder / str(number)).mkdir(parents=True)
        for name, picture in pictures.items():
            picture.save(folder / str(number) / f"{name}.png")
    return folder


def team_config(folder: Path, base: Path, output: Path, *, network: dict | None = None, **changes) -> TrainConfig:
    """A team of three on the samples, with AdamW unless it is said otherwise."""
    network = {"teammates": TEAMMATES, "rank": 4, "profile": "SD3"} | (network or {})
    settings = {
        "data": (DataSet(str(folder), rename={"flash": "image"}),), "optimizer": "adamw", "learning_rate": 3e-3,
        "batch": 2, "accumulate": 1, "crop": 16, "save_every": 1000, "precision": "float32", "tensorboard": False,
    }  # fmt: skip
    return TrainConfig(**{"stage": "team", "output": str(output), "network": network, "base": str(base)} | settings | changes)


def flow_unet(folder: Path) -> Path:
    """A tiny UNet trained by flow matching, in a folder."""
    made = tiny_base("SD2", folder)
    FlowMatchEulerDiscreteScheduler().save_pretrained(made / "scheduler")
    return made


def losses_of(stage, count: int = 10) -> float:
    """The sum over some batches that no run here comes to."""
    with torch.no_grad():
        return sum(float(stage.loss(n)) for n in range(10_000, 10_000 + count))


def train(config: TrainConfig) -> Trainer:
    """Run it to its end in this process."""
    trainer = Trainer(config, stage_for(config), lambda line: None)
    trainer.run()
    return trainer


def write_config(config: TrainConfig, path: Path) -> Path:
    """The configuration as the TOML file that the command reads."""
    lines = [f"{key} = {_toml(value)}" for key, value in vars(config).items() if not isinstance(value, (dict, tuple))]
    for key in ("network", "options"):
        lines += [f"[{key}]"] + [f"{k} = {_toml(v)}" for k, v in getattr(config, key).items()]
    for data in config.data:
        lines += ["[[data]]"] + [f"{k} = {_toml(v)}" for k, v in vars(data).items()]
    path.write_text("\n".join(lines))
    return path


def _toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


def start(path: Path, *launcher: str, **options) -> subprocess.Popen:
    """`python -m engine_server train` as a process, its output in pipes."""
    command = [sys.executable, *launcher, "-m", "engine_server", "train", str(path)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": ""}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes, **options)
