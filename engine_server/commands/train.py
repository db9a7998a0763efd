# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server train CONFIG.toml`: train an autoencoder, a base or a team.

On several devices: `accelerate launch -m engine_server train CONFIG.toml`.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..train.config import TrainConfig
    from ..train.loop import Trainer
    from ..train.ranks import Ranks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("config", type=Path, help="the run's TOML file")
    parser.add_argument("--minutes", type=float, help="time budget; replaces the file's")
    parser.add_argument("--steps", type=int, help="number of optimiser steps; replaces the file's")
    parser.add_argument("--output", help="folder for the results; replaces the file's")
    parser.add_argument("--threads", type=int, help="processor threads; 0 leaves the choice to torch")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1, ...; replaces the file's")
    parser.add_argument("--fresh", dest="resume", action="store_false", default=None, help="begin anew, not where it stopped")


def main(args: argparse.Namespace) -> int:
    """Train to the end of the budget. Returns 2 after a mistake or a full disk, and 130 when it was stopped."""
    from ..teamwork.config import TeamError
    from ..train.errors import TrainError

    try:
        return _train(args)
    except (TrainError, TeamError) as error:
        print(error, file=sys.stderr)
        return 2


def _train(args: argparse.Namespace) -> int:
    import torch

    from ..train.config import load_config
    from ..train.ranks import Ranks

    overrides = {key: getattr(args, key) for key in ("minutes", "steps", "output", "threads", "device", "resume")}
    config = load_config(args.config, **overrides)
    if config.threads:
        torch.set_num_threads(config.threads)
    _check_base(config, args.config)
    ranks = Ranks(config.device)
    say = (lambda line: print(line, flush=True)) if ranks.first else (lambda line: None)
    try:
        trainer = _begun(config, ranks, say)
        with _stopping(trainer.stop):
            trainer.run()
    finally:
        ranks.close()
    if trainer.progress() < 1:
        say(f"stopped at step {trainer.step}; run the same command to go on from there")
        return 130
    say(f"{trainer.step} steps done: {config.output}")
    return 0


def _check_base(config: TrainConfig, recipe: Path) -> None:
    from ..train.base import require_base  # and diffusers with it, which a mistake in the file need not wait for

    if config.stage != "vae":
        require_base(config.base, recipe)


def _begun(config: TrainConfig, ranks: Ranks, say: Callable[[str], None]) -> Trainer:
    """What trains, its pictures encoded. Raises `SaveError` where a file or folder that this takes cannot be read or written."""
    from safetensors import SafetensorError

    from ..train.errors import SaveError
    from ..train.loop import Trainer
    from ..train.team import stage_for

    try:
        return Trainer(config, stage_for(config, ranks, say), say, ranks)
    except (OSError, SafetensorError) as error:
        raise SaveError(
            f"The training in {config.output} cannot begin ({' '.join(str(error).split())}): make room, or name files and folders that "
            "can be used, and run the same command again."
        ) from error


@contextlib.contextmanager
def _stopping(stop: Callable[..., None]) -> Iterator[None]:
    """Within this block Ctrl-C and SIGTERM, which clusters send before they take a machine back, call `stop`."""
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
