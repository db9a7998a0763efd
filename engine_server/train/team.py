# SPDX-License-Identifier: GPL-3.0-or-later
"""Third stage: the team. The base is frozen; only `adapter.*` trains, on random subsets of each sample's channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..diffusion.loading import load_base
from ..teamwork.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from ..teamwork.config import TeamConfig
from ..teamwork.inject import adapters, attach, profile_layers
from .config import ConfigError, DataSet, TrainConfig
from .flow import draw_sigmas, flow_loss, noised
from .samples import LatentCache, SampleSet

Tensor = torch.Tensor


def choose(
    data: DataSet, names: list[str], team: TeamConfig, random: np.random.Generator, keep: float
) -> tuple[list[str], list[str]]:
    """Which of a sample's channels are given and which are wanted.

    With probability `keep` all that the set offers; else a random subset of the inputs and of the outputs (the
    "dropout" that makes every teammate able to go missing). A channel that may be both is one or the other by chance.
    Raises `ConfigError` if the samples have no channel that the team can make.
    """
    given = [n for n in (data.given or team.inputs) if n in names and n in team.inputs]
    wanted = [n for n in (data.wanted or team.outputs) if n in names and n in team.outputs]
    if not wanted:
        raise ConfigError(f"{data.folder} holds samples with only {', '.join(names)}, none of which the team makes.")
    if random.random() >= keep:
        given = [n for n in given if random.random() < 0.7] or given
        wanted = [n for n in wanted if random.random() < 0.6] or wanted
    rest = [n for n in wanted if n not in given or random.random() < 0.5] or [wanted[random.integers(len(wanted))]]
    return [n for n in given if n not in rest], rest


def warm_start(network: torch.nn.Module, team: TeamConfig, earlier: Checkpoint) -> None:
    """Copy what an earlier team of the same rank has learnt for the teammates that both have, by name."""
    pairs = [(i, earlier.config.teammates.index(n)) for i, n in enumerate(team.teammates) if n in earlier.config.teammates]
    if earlier.config.rank != team.rank or not pairs:
        raise ConfigError(f"{earlier.path} has rank {earlier.config.rank} and teammates {', '.join(earlier.config.teammates)}.")
    here, there = (list(column) for column in zip(*pairs, strict=True))
    with torch.no_grad():
        for layer, adapter in adapters(network).items():
            for name, parameter in adapter.named_parameters():
                parameter[here] = earlier.layers[layer][name][there]


class TeamStage:
    """Loss on the rows of wanted teammates only; all images of a batch have the same teammates active.

    `options.sizes` may list pairs of crop and batch, from which each step takes one, so that a team learns pictures of
    several sizes. `options.emphasis` weighs channels against each other; `options.start` is a checkpoint whose teammates
    of the same names the team starts from. With `options.zero_start` the noise at level 1 is zero (see `Team`).
    """

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.base = load_base(config.base)
        self.base.network.train()
        self.team = TeamConfig(**{k: v for k, v in config.network.items()} | {"base_model": config.base})
        self.roster = attach(self.base.network, profile_layers(self.base.network, self.team.family), self.team)
        if start := config.options.get("start"):
            warm_start(self.base.network, self.team, read_checkpoint(start))
        cache = LatentCache(
            self.base, Path(config.options.get("latents", f"{config.output}/latents.safetensors")), config.precision
        )
        channels = {*self.team.inputs, *self.team.outputs}
        self.sets = [SampleSet(data, cache, channels) for data in config.data]
        weights = np.array([data.weight for data in config.data])
        self.weights = weights / weights.sum()
        self.emphasis = config.options.get("emphasis", {})
        self.sizes = config.options.get("sizes", [[config.crop, config.batch]])
        self.random = np.random.default_rng(config.seed)
        self.noise = torch.Generator().manual_seed(config.seed)

    def parameters(self) -> list[torch.nn.Parameter]:
        """The adapters'."""
        return [p for adapter in adapters(self.base.network).values() for p in adapter.parameters()]

    def loss(self) -> Tensor:
        """One batch from one data set."""
        chosen = self.sets[self.random.choice(len(self.sets), p=self.weights)]
        crop, batch = self.sizes[self.random.integers(len(self.sizes))]
        names, latents = chosen.draw(batch, crop // self.base.factor, self.random)
        keep = self.config.options.get("keep", 0.5)
        given, wanted = choose(chosen.data, names, self.team, self.random, keep)
        return self._loss(given, wanted, dict(zip(names, latents, strict=True)))

    def _loss(self, given: list[str], wanted: list[str], latents: dict[str, Tensor]) -> Tensor:
        active = {f"{n}.in" for n in given} | {f"{n}.out" for n in wanted}
        order = [i for i, name in enumerate(self.team.teammates) if name in active]
        names = [self.team.teammates[i] for i in order]
        clean = torch.stack([latents[name.rpartition(".")[0]] for name in names])
        is_wanted = torch.tensor([name.endswith(".out") for name in names])
        noise = torch.randn(clean.shape, generator=self.noise)
        sigma = draw_sigmas(clean.shape[1], self.config.options.get("start_share", 0.5), self.noise)
        if self.config.options.get("zero_start"):
            noise = torch.where(sigma[:, None, None, None] == 1, 0.0, noise)
        rows = torch.where(is_wanted[:, None, None, None, None], noised(clean, noise, sigma[:, None, None, None]), clean)
        velocity = self._predict(rows, sigma, tuple(order))
        weight = torch.tensor([self.emphasis.get(name.removesuffix(".out"), 1.0) for name in names if name.endswith(".out")])
        return flow_loss(velocity[is_wanted], clean[is_wanted], noise[is_wanted], weight / weight.mean())

    def _predict(self, rows: Tensor, sigma: Tensor, order: tuple[int, ...]) -> Tensor:
        flat = rows.flatten(0, 1)  # teammate-major, as the coordination expects
        conditions = self.base.conditions(len(flat), *(side * self.base.factor for side in flat.shape[-2:]))
        timesteps = (sigma * 1000).expand(len(order), -1).flatten()
        with self.roster.working(order):
            return self.base.predict(flat, timesteps, conditions).view(rows.shape)

    def save(self, folder: Path) -> None:
        """The adapter in the public format."""
        save_checkpoint(folder / "team.safetensors", self.base.network, self.team)

    def state(self) -> dict:
        """Both random streams."""
        return {"random": self.random.bit_generator.state, "noise": self.noise.get_state()}

    def restore(self, state: dict) -> None:
        """Go on from `state`."""
        self.random.bit_generator.state = state["random"]
        self.noise.set_state(state["noise"])


def stage_for(config: TrainConfig) -> object:
    """The stage that a configuration names; raises `ConfigError` if it does not fit."""
    from .base import BaseStage
    from .vae import VaeStage

    if config.stage != "vae" and not config.base:
        raise ConfigError(f"The stage {config.stage} needs `base`, the folder of the stage before.")
    return {"vae": VaeStage, "base": BaseStage, "team": TeamStage}[config.stage](config)
