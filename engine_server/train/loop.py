# SPDX-License-Identifier: GPL-3.0-or-later
"""The one training loop: any stage that can name its parameters, give a loss and save itself is trained here."""

from __future__ import annotations

import contextlib
import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError

from .config import TrainConfig
from .errors import ConfigError, SaveError
from .precision import mixed_precision, short_attention
from .ranks import Ranks
from .report import Report
from .seeds import seed_everything
from .state import State, read_state, write_state
from .told import another, changes, settings_of

STATE = "state.safetensors"


class Stage(Protocol):
    """What the loop asks of a stage. One that can also show `pictures` or a `validation_loss` is asked for them."""

    def parameters(self) -> list[torch.nn.Parameter]:
        """The parameters that train."""

    def loss(self, number: int) -> torch.Tensor:
        """The mean loss of the batch of this number; all that is random about it follows from the seed and the number."""

    def save(self, folder: Path) -> None:
        """Write the trained network in its public format, whole or not at all."""


def cosine(progress: float) -> float:
    """Learning-rate factor of a cosine decay; `progress` runs from 0 to 1."""
    return 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def make_optimizer(config: TrainConfig, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Prodigy (arXiv 2306.06101) with the settings of the Teamwork paper, or AdamW."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay
        )
    from prodigyopt import Prodigy

    settings = {"safeguard_warmup": True, "use_bias_correction": True, "weight_decay": config.weight_decay}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it was told
        return Prodigy(parameters, lr=config.learning_rate, **settings)


class Trainer:
    """Runs a stage to the end of its budget, with exact resume.

    The state file holds parameters and optimiser, and is replaced in one move, so that a full disk, a killed process or a
    power cut leave the last whole one. `stop()`, from a signal's handler, ends the run after the current step.
    """

    def __init__(
        self, config: TrainConfig, stage: Stage, say: Callable[[str], None] = print, ranks: Ranks | None = None
    ) -> None:
        self.config, self.stage, self.say, self.ranks = config, stage, say, ranks or Ranks("cpu")
        self.folder = Path(config.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.params = stage.parameters()
        self.optimizer = make_optimizer(config, self.params)
        self.step, self.seconds, self.norm = 0, 0.0, 0.0
        self.losses: list[float] = []
        self.stopped = False

    def stop(self, *_: Any) -> None:
        """End after this step; everything is saved."""
        self.stopped = True

    def progress(self) -> float:
        """Share of the budget that is spent: of the steps or of the minutes, whichever is further."""
        by_time = self.seconds / (60 * self.config.minutes) if self.config.minutes else 0.0
        return max(self.step / self.config.steps, by_time)

    def run(self) -> None:
        """Train until the budget is spent or the run is stopped; saves at the end, too. Raises `SaveError`."""
        self._resume()
        try:
            self._run()
        except OSError as error:
            raise SaveError(
                f"The training in {self.folder} cannot go on at step {self.step} ({error}). What was saved is whole: run the same "
                "command to go on from there."
            ) from error

    def _run(self) -> None:
        report = Report(self.config, self.step, self.say if self.ranks.first else None)
        try:
            while self.progress() < 1 and not self.stopped:
                started = time.perf_counter()
                self.losses.append(self._optimizer_step())
                self.step += 1
                self._agree(time.perf_counter() - started)
                report.step(self)
                if self.step % self.config.save_every == 0:
                    self._save_and_show(report)
            if self.step % self.config.save_every or not self.losses:
                self._save_and_show(report)
        finally:
            report.close()

    def rate(self) -> float:
        """The learning rate of the next step."""
        decay = cosine(self.progress()) if self.config.schedule == "cosine" else 1.0
        return self.config.learning_rate * decay * min(1.0, (self.step + 1) / max(self.config.warmup, 1))

    def _optimizer_step(self) -> float:
        rate = self.rate()
        for group in self.optimizer.param_groups:  # where both optimisers read it, before every step
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = sum(self._batch(self._number(part)) for part in range(self.config.accumulate))
        self.ranks.average(self.params)
        self.norm = float(torch.nn.utils.clip_grad_norm_(self.params, self.config.clip))
        if not math.isfinite(self.norm):
            raise ConfigError(
                f"The gradient of step {self.step + 1} is not finite (learning rate {rate:.3g}): lower learning_rate, or look for "
                f"broken pictures in the data; the last save in {self.folder} is whole."
            )
        self.optimizer.step()
        return self.ranks.mean(total)[0]

    def _number(self, part: int) -> int:
        """The batch that this process takes: the parts of a step go round the processes."""
        return (self.step * self.config.accumulate + part) * self.ranks.count + self.ranks.index

    def _batch(self, number: int) -> float:
        """Add a batch's share to the gradients; gives its share of the loss."""
        seed_everything(self.config.seed, number)
        precision, device = self.config.precision, self.ranks.device.type
        with short_attention(precision, device):
            with mixed_precision(precision, device):
                loss = self.stage.loss(number) / self.config.accumulate
            loss.backward()
        return float(loss.detach())

    def _agree(self, seconds: float) -> None:
        """Count the time, and stop together."""
        slowest, stopped = self.ranks.agree(seconds, float(self.stopped))
        self.seconds += slowest
        self.stopped = bool(stopped)

    def _save_and_show(self, report: Report) -> None:
        self.ranks.first_alone(self.save)
        report.show(self)

    def save(self) -> None:
        """Write the network in its public format, then the state for a resume. Raises `SaveError` if the disk is full."""
        state = State(self.step, self.seconds, list(self.params), self.optimizer.state_dict(), settings_of(self.config))
        try:
            self.stage.save(self.folder)
            write_state(self.folder / STATE, state)
        except (OSError, SafetensorError) as error:
            raise SaveError(
                f"The training in {self.folder} cannot be saved at step {self.step} ({error}). What was saved before is whole: "
                "make room and run the same command to go on from there."
            ) from error

    def _resume(self) -> None:
        path = self.folder / STATE
        if not (self.config.resume and path.exists()):
            return
        state = read_state(path)
        self._check(path, state)
        self.step, self.seconds = state.step, state.seconds
        with torch.no_grad():
            for parameter, saved in zip(self.params, state.parameters, strict=True):
                parameter.copy_(saved)
        self.optimizer.load_state_dict(state.optimizer)
        for group in self.optimizer.param_groups:  # the state brings its own; the rate is set before every step
            group["weight_decay"] = self.config.weight_decay
        if self.ranks.first:
            self.say(f"resumed at step {self.step}{changes(state.settings, settings_of(self.config))}")

    def _check(self, path: Path, state: State) -> None:
        reason, before = another(state.settings, settings_of(self.config)), state.settings.get("optimizer")
        if not reason and [tuple(p.shape) for p in state.parameters] != [tuple(p.shape) for p in self.params]:
            reason = "for a network of other sizes"
        if not reason and before != self.config.optimizer:
            reason = f"with {before}"
        if reason:
            raise ConfigError(f"{path} is of a run {reason}; choose another output, or begin anew with --fresh.")
