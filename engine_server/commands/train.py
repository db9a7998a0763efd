# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server train CONFIG.toml`: train an autoencoder, a base or a team."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("config", type=Path, help="the run's TOML file")
    parser.add_argument("--minutes", type=float, help="time budget; replaces the file's")
    parser.add_argument("--steps", type=int, help="number of optimiser steps; replaces the file's")
    parser.add_argument("--output", help="folder for the results; replaces the file's")
    parser.add_argument("--threads", type=int, help="processor threads; 0 leaves the choice to torch")
    parser.add_argument("--fresh", dest="resume", action="store_false", default=None, help="begin anew, not where it stopped")


def main(args: argparse.Namespace) -> int:
    """Train to the end of the budget. Returns 2 after a mistake in the configuration."""
    import torch

    from ..teamwork.config import TeamError
    from ..train.config import ConfigError, load_config
    from ..train.loop import Trainer
    from ..train.team import stage_for

    overrides = {key: getattr(args, key) for key in ("minutes", "steps", "output", "threads", "resume")}
    try:
        config = load_config(args.config, **overrides)
        if config.threads:
            torch.set_num_threads(config.threads)
        Trainer(config, stage_for(config), lambda line: print(line, flush=True)).run()
    except (ConfigError, TeamError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0
