# SPDX-License-Identifier: GPL-3.0-or-later
"""The one training loop: any stage that can name its parameters, give a loss and save itself is trained here."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch

from .config import ConfigError, TrainConfig
from .precision import mixed_precision


class Stage(Protocol):
    """What the loop asks of a stage."""

    def parameters(self) -> list[torch.nn.Parameter]:
        """The parameters that train."""

    def loss(self) -> torch.Tensor:
        """The mean loss of one freshly drawn batch."""

    def save(self, folder: Path) -> None:
        """Write the trained network in its public format."""

    def state(self) -> dict:
        """Tensors and numbers that an exact resume needs beside the parameters."""

    def restore(self, state: dict) -> None:
        """Take back what `state` gave."""


def cosine(progress: float) -> float:
    """Learning-rate factor of a cosine decay; `progress` runs from 0 to 1."""
    return 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def make_optimizer(config: TrainConfig, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW, or Prodigy (arXiv 2306.06101) with the settings of the Teamwork paper; raises `ConfigError` for another name."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay
        )
    if config.optimizer == "prodigy":
        from prodigyopt import Prodigy

        return Prodigy(
            parameters,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            safeguard_warmup=True,
            use_bias_correction=True,
        )
    raise ConfigError(f"optimizer is {config.optimizer!r}; expected adamw or prodigy.")


class Trainer:
    """Runs a stage to the end of its budget, with exact resume.

    The state file holds parameters, optimiser, random generators and the stage's own state, and is replaced in one
    move, so that a full disk or a power cut leaves the last good one.
    """

    def __init__(self, config: TrainConfig, stage: Stage, say: Callable[[str], None] = print) -> None:
        self.config, self.stage, self.say = config, stage, say
        self.folder = Path(config.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.params = stage.parameters()
        self.optimizer = make_optimizer(config, self.params)
        self.step, self.seconds = 0, 0.0
        self.losses: list[float] = []

    def progress(self) -> float:
        """Share of the budget that is spent: of the steps or of the minutes, whichever is further."""
        by_time = self.seconds / (60 * self.config.minutes) if self.config.minutes else 0.0
        return max(self.step / self.config.steps, by_time)

    def run(self) -> None:
        """Train until the budget is spent; saves at the end, too."""
        self._resume()
        while self.progress() < 1:
            started = time.perf_counter()
            self.losses.append(self._optimizer_step())
            self.seconds += time.perf_counter() - started
            self.step += 1
            self._report()
            if self.step % self.config.save_every == 0:
                self.save()
        self.save()

    def _optimizer_step(self) -> float:
        rate = self.config.learning_rate * cosine(self.progress()) * min(1.0, (self.step + 1) / self.config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for _ in range(self.config.accumulate):
            with mixed_precision(self.config.precision):
                loss = self.stage.loss() / self.config.accumulate
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.params, self.config.clip)
        self.optimizer.step()
        return total

    def _report(self, every: int = 50) -> None:
        if self.step % every:
            return
        mean = sum(self.losses[-every:]) / len(self.losses[-every:])
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": self.step, "loss": mean, "seconds": round(self.seconds, 1)}) + "\n")
        self.say(f"step {self.step}  loss {mean:.4f}  {self.seconds / 60:.1f} min  {100 * self.progress():.0f} %")

    def save(self) -> None:
        """Write the network in its public format, then the state for a resume."""
        self.stage.save(self.folder)
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "parameters": [p.detach() for p in self.params],
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "stage": self.stage.state(),
        }
        partial = self.folder / "state.pt.partial"
        torch.save(state, partial)
        os.replace(partial, self.folder / "state.pt")

    def _resume(self) -> None:
        path = self.folder / "state.pt"
        if not (self.config.resume and path.exists()):
            return
        state = torch.load(path, weights_only=True)
        self.step, self.seconds = state["step"], state["seconds"]
        with torch.no_grad():
            for parameter, saved in zip(self.params, state["parameters"], strict=True):
                parameter.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self.stage.restore(state["stage"])
        self.say(f"resumed at step {self.step}")
