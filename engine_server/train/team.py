# SPDX-License-Identifier: GPL-3.0-or-later
"""Third stage: the team. The base is frozen; only `adapter.*` trains, on random subsets of each sample's channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ..diffusion.base import Base
from ..diffusion.loading import load_base
from ..teamwork.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from ..teamwork.config import TeamConfig
from ..teamwork.inject import adapters, attach, profile_layers
from .base import check_crops
from .config import DataSet, TrainConfig, build
from .errors import ConfigError
from .estimate import EstimateStage, Teacher
from .latents import LatentCache
from .objectives import objective_for
from .measure import checked_emphasis, emphasised, mean_error, pixel_measure
from .options import options_of
from .precision import mixed_precision
from .ranks import Ranks
from .samples import Batch
from .seeds import Seeds, on_device, seeds
from .sets import Samples, idle, sample_set, shares
from .show import forget, show

Tensor = torch.Tensor
VALIDATION_BATCHES = 16


def choose(
    data: DataSet, names: list[str], team: TeamConfig, random: np.random.Generator, keep: float
) -> tuple[list[str], list[str]]:
    """Which of a sample's channels are given and which are wanted.

    With probability `keep` all that the set offers; else a random subset of the inputs and of the outputs (the
    "dropout" that makes every teammate able to go missing). A channel that may be both is one or the other by chance.
    A share of batches has nothing given, if the set says so. Raises `ConfigError` if the samples have no channel that
    the team can make.
    """
    given = [n for n in (data.given or team.inputs) if n in names and n in team.inputs]
    wanted = [n for n in (data.wanted or team.outputs) if n in names and n in team.outputs]
    if not wanted:
        raise ConfigError(f"{data.folder} holds samples with only {', '.join(names)}, none of which the team makes.")
    if data.unconditional and random.random() < data.unconditional:
        return [], wanted
    if random.random() >= keep:
        given = [n for n in given if random.random() < 0.7] or given
        wanted = [n for n in wanted if random.random() < 0.6] or wanted
    rest = [n for n in wanted if n not in given or random.random() < 0.5] or [wanted[random.integers(len(wanted))]]
    return [n for n in given if n not in rest], rest


def warm_start(network: torch.nn.Module, team: TeamConfig, earlier: Checkpoint) -> None:
    """Copy what an earlier team of the same rank has learnt for the teammates that both have, by name.

    Raises `ConfigError` if the two have nothing in common.
    """
    pairs = [(i, earlier.config.teammates.index(n)) for i, n in enumerate(team.teammates) if n in earlier.config.teammates]
    own = adapters(network)
    if earlier.config.rank != team.rank or not pairs or set(own) != set(earlier.layers):
        teammates = ", ".join(earlier.config.teammates)
        raise ConfigError(
            f"options.start: {earlier.path} has rank {earlier.config.rank}, teammates {teammates} and {len(earlier.layers)} "
            f"layers; expected rank {team.rank}, one of {', '.join(team.teammates)} and the same {len(own)} layers."
        )
    here, there = (list(column) for column in zip(*pairs, strict=True))
    with torch.no_grad():
        for layer, adapter in own.items():
            for name, parameter in adapter.named_parameters():
                parameter[here] = earlier.layers[layer][name][there].to(parameter)


RANK = 64
"""The published rank."""


def team_config(config: TrainConfig, family: str) -> TeamConfig:
    """The team that [network] describes, on a base of this family unless it is said otherwise. Raises `ConfigError`."""
    usual = {"base_model": config.base, "rank": RANK, "profile": family}
    return build(TeamConfig, usual | config.network, "[network]")


class TeamStage:
    """Loss on the rows of wanted teammates only; all images of a batch have the same teammates active."""

    def __init__(
        self,
        config: TrainConfig,
        ranks: Ranks | None = None,
        say: Callable[[str], None] = print,
        base: Base | None = None,
    ) -> None:
        """`base` is there already where several teams train on one; else it is loaded.

        Raises `ConfigError` or `TeamError` where the configuration, the data or the base do not fit each other.
        """
        torch.manual_seed(config.seed)
        ranks = ranks or Ranks("cpu")
        self.config, self.options = config, options_of(config)
        loading = {name: getattr(self.options, name) or None for name in ("network", "quantization", "revision")}
        weights = getattr(torch, config.weights or config.precision)
        self.base = base or load_base(config.base, str(ranks.device), weights, **loading)
        self.team = team_config(config, self.base.family)
        self._attach()
        self.objective = objective_for(self.base, self.options.weighting)
        self.measure = pixel_measure(self.base) if self.options.measure == "pixels" else torch.ones(1, 1, 1)
        self.teacher = Teacher(Path(self.options.teacher), str(ranks.device)) if self.options.teacher else None
        self.sizes = self.options.sizes or ((config.crop, config.batch),)
        check_crops(self.base, [crop for crop, _ in self.sizes])
        checked_emphasis(self.options.emphasis, self.team.outputs)
        cache = LatentCache(
            self.base, Path(self.options.latents or f"{config.output}/latents.safetensors"), config.precision, say
        )
        self.sets, self.validation = (self._sets(sets, cache) for sets in (config.data, config.validation))
        if unused := idle(self.team.teammates, self.sets):
            say(f"no data set has anything for {', '.join(unused)}, which learns nothing")
        ranks.first_alone(lambda: cache.fill([p for s in (*self.sets, *self.validation) for p in s.pictures]))
        cache.open()
        self.weights = shares(self.sets)

    def _attach(self) -> None:
        network = self.base.network
        network.train()
        if self.config.checkpointing:
            network.enable_gradient_checkpointing()
        earlier = read_checkpoint(self.options.start) if self.options.start else None
        layers = list(earlier.layers) if earlier else profile_layers(network, self.team.family)
        self.roster = attach(network, layers, self.team)
        if earlier:
            warm_start(network, self.team, earlier)

    def _sets(self, sets: tuple[DataSet, ...], cache: LatentCache) -> list[Samples]:
        channels, smallest = {*self.team.inputs, *self.team.outputs}, min(crop for crop, _ in self.sizes)
        return [sample_set(data, cache, channels, set(self.team.outputs), smallest) for data in sets]

    def parameters(self) -> list[torch.nn.Parameter]:
        """The adapters'."""
        return [p for adapter in adapters(self.base.network).values() for p in adapter.parameters()]

    def loss(self, number: int) -> Tensor:
        """Of the batch of this number, from one data set.

        The teammates stay active afterwards: gradient checkpointing runs parts of the network again in the backward pass.
        """
        streams = seeds(self.config.seed, number)
        chosen = self.sets[streams.choices.choice(len(self.sets), p=self.weights)]
        return self._loss(chosen, streams, self.options.keep)

    @torch.no_grad()
    def validation_loss(self) -> float | None:
        """Mean over the same few batches of the validation sets each time, with all channels; None without such sets."""
        if not self.validation:
            return None
        losses = []
        forget(self.base.network)
        for number in range(VALIDATION_BATCHES):
            with mixed_precision(self.config.precision, self.base.device.type):
                chosen = self.validation[number % len(self.validation)]
                losses.append(float(self._loss(chosen, seeds(self.config.seed, number, stream=1), keep=1.0)))
        return sum(losses) / len(losses)

    def _loss(self, chosen: Samples, streams: Seeds, keep: float) -> Tensor:
        crop, count = self.sizes[streams.choices.integers(len(self.sizes))]
        batch = chosen.draw(count, crop // self.base.factor, streams.choices)
        given, wanted = choose(chosen.data, batch.names, self.team, streams.choices, keep)
        if self.teacher and given == [self.teacher.given]:
            batch = self.teacher.taught(batch)
        return self.loss_of(batch, given, wanted, streams.noise)

    def loss_of(self, batch: Batch, given: list[str], wanted: list[str], generator: torch.Generator) -> Tensor:
        """Mean squared error of the wanted rows, weighed by channel, noise level and pixel."""
        active = {f"{n}.in" for n in given} | {f"{n}.out" for n in wanted}
        order = tuple(i for i, name in enumerate(self.team.teammates) if name in active)
        names = [self.team.teammates[i] for i in order]
        clean = torch.stack([batch.latents[name.rpartition(".")[0]] for name in names])
        is_wanted = torch.tensor([name.endswith(".out") for name in names]).to(clean.device)
        level, noise = self._noise(clean, generator, self.options.start_share if given else 0.0)
        spread = level[:, None, None, None]
        rows = torch.where(is_wanted[:, None, None, None, None], self.objective.noised(clean, noise, spread), clean)
        answer = self._predict(rows, self.objective.timestep(level), order)[is_wanted.to(self.base.device)].float()
        target = self.objective.target(clean, noise, spread)[is_wanted]
        counts = self.measure.to(level.device) * self.objective.weight(level)[:, None, None, None]
        pixels = counts if batch.weight is None else batch.weight * counts
        square = (answer - target.to(answer.device)).square() * pixels.to(answer.device)
        scale = emphasised([n.removesuffix(".out") for n in names if n.endswith(".out")], self.options.emphasis)
        return mean_error(square, scale.to(answer.device), self.options.error)

    def _noise(self, clean: Tensor, generator: torch.Generator, start_share: float) -> tuple[Tensor, Tensor]:
        """A noise level for each image, and noise for every row, where the latents are: on the CPU they are the same everywhere."""
        level, highest = (drawn.to(clean.device) for drawn in self.objective.draw(clean.shape[1], start_share, generator))
        generator = on_device(generator, clean.device)
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        if strength := self.options.offset_noise:
            noise += strength * torch.randn(*clean.shape[:3], 1, 1, generator=generator, device=clean.device)
        return level, torch.where(highest[:, None, None, None], 0.0, noise) if self.options.zero_start else noise

    def _predict(self, rows: Tensor, timestep: Tensor, order: tuple[int, ...]) -> Tensor:
        flat = rows.flatten(0, 1).to(self.base.device, self.base.dtype)  # teammate-major, as the coordination expects
        conditions = self.base.conditions(len(flat), *(side * self.base.factor for side in flat.shape[-2:]))
        self.roster.turn_to(order)
        timesteps = timestep.expand(len(order), -1).flatten().to(self.base.device)
        return self.base.predict(flat, timesteps, conditions).view(rows.shape)

    def save(self, folder: Path) -> None:
        """The adapter in the public format."""
        precision = getattr(torch, self.options.saved)
        save_checkpoint(folder / "team.safetensors", self.base.network, self.team, precision)

    def pictures(self) -> dict[str, np.ndarray]:
        """What the team makes of a few samples, beside the truth (see `show`)."""
        return show(self)


def stage_for(config: TrainConfig, ranks: Ranks | None = None, say: Callable[[str], None] = print) -> object:
    """The stage that a configuration names; raises `ConfigError` if it does not fit."""
    from .base import BaseStage
    from .joint import JointStage
    from .unison import UnisonStage
    from .vae import VaeStage

    if config.stage != "vae" and not config.base:
        raise ConfigError(f"The stage {config.stage} needs `base`, the folder of the stage before or a base's name.")
    stages = {
        "vae": VaeStage,
        "base": BaseStage,
        "estimate": EstimateStage,
        "unison": UnisonStage,
        "team": TeamStage,
        "joint": JointStage,
    }
    stage = stages[config.stage](config, ranks, say)
    if config.compile:
        stage.base.network.compile()  # in place: the names of its parts, and so the files, stay as they are
    return stage
