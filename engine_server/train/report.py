# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run tells: lines or a progress bar, log.jsonl, and TensorBoard with losses and pictures."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import TrainConfig
from .errors import ConfigError

if TYPE_CHECKING:
    from .loop import Trainer

EVERY = 50
"""Steps from one line to the next."""


class Report:
    """Tells nothing without `say`: one process talks for all. The bar is drawn on a terminal only; logs get lines."""

    def __init__(self, config: TrainConfig, step: int, say: Callable[[str], None] | None) -> None:
        """`step` is where the run goes on; what was logged after it belongs to a run that was cut off, and is dropped."""
        self.config, self.say, self.told = config, say, 0
        self.log = Path(config.output) / "log.jsonl"
        self.board = self._board(step) if say and config.tensorboard else None
        self.bar = self._bar(step) if say and sys.stderr.isatty() else None
        if say and self.log.exists():
            self._cut(step)

    def _board(self, step: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "TensorBoard is not installed: pip install tensorboard, or set tensorboard = false."
            ) from error
        folder = Path(self.config.output) / "tensorboard"
        for curves in folder.glob("events.out.tfevents.*") if not step else ():
            curves.unlink()  # of a run before this one, which begins anew
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def _bar(self, step: int) -> Any:
        from tqdm import tqdm

        return tqdm(total=self.config.steps, initial=step, unit="step", dynamic_ncols=True, file=sys.stderr)

    def _cut(self, step: int) -> None:
        lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
        self.log.write_text("".join(line for line in lines if _step(line) <= step), encoding="utf-8")

    def step(self, trainer: Trainer) -> None:
        """After each step."""
        if not self.say:
            return
        if self.board:
            for name, value in numbers(trainer).items():
                self.board.add_scalar(name, value, trainer.step)
        if self.bar:
            self.bar.update()
            self.bar.set_postfix_str(f"loss {trainer.losses[-1]:.4f}", refresh=False)
        if trainer.step % EVERY == 0:
            self._line(trainer)

    def _line(self, trainer: Trainer) -> None:
        recent = trainer.losses[self.told :]
        self.told, mean, seconds = len(trainer.losses), sum(recent) / len(recent), trainer.seconds
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": trainer.step, "loss": mean, "seconds": round(seconds, 1)}) + "\n")
        if not self.bar:
            share = 100 * trainer.progress()
            self.say(f"step {trainer.step}  loss {mean:.4f}  {seconds / 60:.1f} min  {share:.0f} %")

    def show(self, trainer: Trainer) -> None:
        """After a save: the loss on validation sets, and pictures."""
        if not self.say:
            return
        validate = getattr(trainer.stage, "validation_loss", None)
        loss = validate() if validate else None
        if loss is not None:
            with self.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps({"step": trainer.step, "validation_loss": loss}) + "\n")
            self.say(f"step {trainer.step}  validation loss {loss:.4f}")
        if self.board:
            self._show(trainer, loss)

    def _show(self, trainer: Trainer, loss: float | None) -> None:
        if loss is not None:
            self.board.add_scalar("loss/validation", loss, trainer.step)
        if self.config.samples and hasattr(trainer.stage, "pictures"):
            for name, picture in trainer.stage.pictures().items():
                self.board.add_image(f"samples/{name}", picture.clip(0, 1), trainer.step, dataformats="HWC")
        self.board.flush()

    def close(self) -> None:
        """Write what is left."""
        for part in (self.board, self.bar):
            if part:
                part.close()


def numbers(trainer: Trainer) -> dict[str, float]:
    """What TensorBoard plots at each step; `d` is Prodigy's estimate, which its rate multiplies."""
    group = trainer.optimizer.param_groups[0]
    told = {"loss/train": trainer.losses[-1], "rate": group["lr"], "gradient norm": trainer.norm}
    return told | ({"prodigy d": group["d"]} if "d" in group else {})


def _step(line: str) -> int:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return sys.maxsize
