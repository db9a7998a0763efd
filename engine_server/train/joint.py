# SPDX-License-Identifier: GPL-3.0-or-later
"""A base together with its teams: its weights and all their adapters train at once, on the losses of the teams.

That is not the published method, whose base is frozen and knows pictures already. It is for bases that are too small to have
learnt much from pictures alone: what they lack, their teams may teach them. Afterwards the base is frozen like any other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ..diffusion.base import Base
from .base import save_base, trainable_base
from .config import TrainConfig, load_config
from .errors import ConfigError
from .options import options_of
from .ranks import Ranks
from .seeds import seeds
from .team import TeamStage

CHOICES = 3
"""The stream of random numbers that says which team a batch is for."""


def twin(base: Base) -> Base:
    """A base whose network has the same parameters, not copies of them, but modules of its own to put adapters on."""
    made = copy.copy(base)
    made.network = copy.deepcopy(base.network, {id(p): p for p in base.network.parameters()})
    return made


class JointStage:
    """Each batch is one team's, drawn by `options.shares`. Writes the base, and each team into a folder of its file's name."""

    def __init__(self, config: TrainConfig, ranks: Ranks | None = None, say: Callable[[str], None] = print) -> None:
        """Raises `ConfigError` or `TeamError` where the configurations, the data or the base do not fit each other."""
        self.config, self.options = config, options_of(config)
        ranks = ranks or Ranks("cpu")
        self.base = trainable_base(config, self.options.shift, str(ranks.device))
        self.teams = {name: self._team(path, ranks, say) for name, path in self._paths().items()}
        self.base.network.requires_grad_(True)
        shares = np.array(self.options.shares or [1.0] * len(self.teams))
        self.shares = shares / shares.sum()

    def _paths(self) -> dict[str, Path]:
        paths = {Path(path).stem: Path(path) for path in self.options.teams}
        if len(paths) < len(self.options.teams):
            raise ConfigError("Two of options.teams have the same file name; each team is saved under its own.")
        return paths

    def _team(self, path: Path, ranks: Ranks, say: Callable[[str], None]) -> TeamStage:
        shared = {"base": self.config.base, "output": str(Path(self.config.output) / path.stem), "precision": self.config.precision}
        config = load_config(path, **shared)
        if config.stage != "team":
            raise ConfigError(f"{path} is of the stage {config.stage}; options.teams lists files of teams.")
        Path(config.output).mkdir(parents=True, exist_ok=True)
        return TeamStage(config, ranks, say, twin(self.base))

    def parameters(self) -> list[torch.nn.Parameter]:
        """The base's, then each team's adapters."""
        adapters = [p for team in self.teams.values() for p in team.parameters()]
        return [*self.base.network.parameters(), *adapters]

    def loss(self, number: int) -> torch.Tensor:
        """Of the batch of this number, for one of the teams."""
        choices = seeds(self.config.seed, number, stream=CHOICES).choices
        return list(self.teams.values())[choices.choice(len(self.teams), p=self.shares)].loss(number)

    def save(self, folder: Path) -> None:
        """The base in diffusers layout, and each team's adapter in the public format."""
        save_base(self.base, folder / "base")
        for name, team in self.teams.items():
            team.save(folder / name)

    def pictures(self) -> dict[str, np.ndarray]:
        """What each team makes of a few samples, beside the truth."""
        return {f"{name}/{sample}": row for name, team in self.teams.items() for sample, row in team.pictures().items()}
