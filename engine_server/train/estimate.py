# SPDX-License-Identifier: GPL-3.0-or-later
"""A base that learns to read pictures before its team comes: one row in, all wanted channels out of a wider last layer.

A team needs a row of the network for each channel; here one row answers for all, so a sample costs a fraction of what it costs a
team. The wide layer looks at single cells, as the adapter of a team does: `graft` makes a team of base and layer that answers just the
same, and can learn more. Like `joint`, it is for bases too small to have learnt much from pictures alone.

The row is that of the first given channel, the hub. Where there are others, a wide first layer adds what they give.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..diffusion.base import Base, Prompts
from ..diffusion.loading import load_base
from ..diffusion.solvers import flow_shift
from .base import check_crops, save_base, trainable_base
from .config import DataSet, TrainConfig
from .errors import ConfigError
from .latents import LatentCache
from .measure import checked_emphasis, emphasised, mean_error, pixel_measure
from .options import options_of
from .ranks import Ranks
from .samples import Batch
from .seeds import seeds
from .sets import Samples, sample_set, shares
from .wide import WIDE, WideEntry, check_teammates, read_wide, take_wide, widened, with_entry, with_layers, write_wide

Tensor = torch.Tensor
TIME = 1000.0
"""The timestep of everything here: that of the first step from zero noise, which is where such a team answers."""
GIVEN = 0.35
"""How often a wanted channel is given where such channels are given at all."""


def answers_of(base: Base, rows: Tensor, times: Tensor, prompts: Prompts | None = None) -> Tensor:
    """What a base with a wide last layer answers at these timesteps: B x (channels C) x h x w."""
    rows = rows.to(base.device, base.dtype, memory_format=torch.channels_last)
    conditions = base.conditions(len(rows), *(side * base.factor for side in rows.shape[-2:]), prompts)
    return base.predict(rows, times.to(rows.device), conditions).float()


def from_zero(base: Base, rows: Tensor) -> Tensor:
    """The velocities from zero noise, which are minus the clean latents: B x (channels C) x h x w."""
    return answers_of(base, rows, torch.full((len(rows),), TIME))


class Teacher:
    """What the stage `estimate` left in a folder, as a whole: it answers all channels from one, for a team to learn from.

    Its answers are the mean of what is possible, without the noise that single samples have around it.
    """

    def __init__(self, folder: Path, device: str) -> None:
        """Raises `ConfigError` if the folder is not of that stage."""
        if not (folder / WIDE).is_file():
            raise ConfigError(f"options.teacher: {folder} has no {WIDE}; it is not a result of the stage estimate.")
        facts, weights = read_wide(folder / WIDE)
        self.given, *self.others = facts["given"].split(",")
        self.wanted = facts["wanted"].split(",")
        self.base = load_base(folder, device)
        self.head = dict(weights)
        self.base.network.conv_out = widened(self.base, len(self.wanted))
        if self.others:
            with_entry(self.base, 1 + len(self.others), 0)
        take_wide(self.base.network, weights)
        self.base.network.requires_grad_(False).eval().to(memory_format=torch.channels_last)

    @torch.no_grad()
    def taught(self, batch: Batch) -> Batch:
        """The batch with the teacher's answers in the place of those channels that it knows."""
        first = batch.latents[self.given]
        rows = torch.cat([first, first.new_zeros(len(first), len(self.others) * first.shape[1], *first.shape[2:])], 1)
        answers = -from_zero(self.base, rows).to(first.device)  # packed samples lie where they are trained on, others on the CPU
        parts = dict(zip(self.wanted, answers.chunk(len(self.wanted), dim=1), strict=True))
        return Batch({name: parts.get(name, clean) for name, clean in batch.latents.items()}, batch.weight)


class EstimateStage:
    """Error of all wanted channels that a batch has, from its given channels, at the highest noise level without noise.

    Channels of a set that are given and not wanted are always given; those that are both are wanted mostly, and given now and then.
    """

    def __init__(self, config: TrainConfig, ranks: Ranks | None = None, say: Callable[[str], None] = print) -> None:
        """Raises `ConfigError` or `TeamError` where the configuration, the data or the base do not fit each other."""
        torch.manual_seed(config.seed)
        self.config, self.options, ranks = config, options_of(config), ranks or Ranks("cpu")
        self.base = trainable_base(config, self.options.shift, str(ranks.device))
        self.wanted = sorted({name for data in config.data for name in data.wanted})
        self.given = self._given(config.data)
        check_teammates([*(f"{name}.in" for name in self.given), *(f"{name}.out" for name in self.wanted)])
        checked_emphasis(self.options.emphasis, self.wanted)
        if flow_shift(self.base.template) is None:
            raise ConfigError(f"The stage estimate needs flow matching; {self.base.name} predicts noise or velocity of a diffusion.")
        self.measure = pixel_measure(self.base)
        self._widen(Path(config.base) / WIDE)
        self.base.network.requires_grad_(True).train().to(memory_format=torch.channels_last)
        self.sizes = self.options.sizes or ((config.crop, config.batch),)
        check_crops(self.base, [crop for crop, _ in self.sizes])
        cache = LatentCache(self.base, Path(self.options.latents or f"{config.output}/latents.safetensors"), config.precision, say)
        self.sets = [self._set(data, cache) for data in config.data]
        ranks.first_alone(lambda: cache.fill([p for s in self.sets for p in s.pictures]))
        cache.open()
        self.weights = shares(self.sets)

    def _given(self, sets: tuple[DataSet, ...]) -> list[str]:
        """The given channels, the hub first."""
        for data in sets:
            if not data.given or data.given[0] != sets[0].given[0] or data.given[0] in data.wanted or not data.wanted:
                needs = "`given` with the same first channel as the other sets, which is not wanted, and `wanted`"
                raise ConfigError(f"The data set {data.folder}: the stage estimate needs {needs}.")
        hub = sets[0].given[0]
        return [hub, *sorted({name for data in sets for name in data.given} - {hub})]

    def _set(self, data: DataSet, cache: LatentCache) -> Samples:
        names = {*data.given, *data.wanted}
        made = sample_set(data, cache, names, set(data.wanted), min(crop for crop, _ in self.sizes))
        found = {sample.folder: set(sample.channels) for sample in made.samples} or {Path(data.folder): set(made.names)}
        for folder, has in found.items():
            if missing := [name for name in data.given if name not in has]:
                needs = "the stage estimate needs each channel of `given` in all samples of a set"
                raise ConfigError(f"{folder} has no picture of {', '.join(missing)}: {needs}; add it, or leave the sample out.")
        return made

    def _widen(self, found: Path) -> None:
        """The wide layers: what an earlier run left beside the base, or fresh ones."""
        network = self.base.network
        self.narrow, network.conv_out = getattr(network, "conv_out", None), widened(self.base, len(self.wanted))
        if len(self.given) > 1:
            with_entry(self.base, len(self.given), 0)
        if not found.is_file():
            return
        facts, weights = read_wide(found)
        if (facts["given"], facts["wanted"]) != (",".join(self.given), ",".join(self.wanted)):
            asked = f"this run takes {','.join(self.given)} and wants {','.join(self.wanted)}"
            raise ConfigError(f"{found} takes {facts['given']} and is for {facts['wanted']}; {asked}.")
        take_wide(network, weights)

    def parameters(self) -> list[nn.Parameter]:
        """The network's, its wide layers among them."""
        return list(self.base.network.parameters())

    def loss(self, number: int) -> Tensor:
        """Of the batch of this number, from one data set."""
        random = seeds(self.config.seed, number).choices
        chosen = self.sets[random.choice(len(self.sets), p=self.weights)]
        crop, count = self.sizes[random.integers(len(self.sizes))]
        return self._loss(chosen.draw(count, crop // self.base.factor, random), chosen.data, random)

    def _loss(self, batch: Batch, data: DataSet, random: np.random.Generator) -> Tensor:
        names = [name for name in data.wanted if name in batch.latents]
        given = self._known(data, len(batch.latents[data.given[0]]), random)
        answers = self._answers(self._rows(batch, given))
        told = [1.0 - given[n].to(answers.device) if n in given else 1.0 for n in names]
        errors = [(answers[self.wanted.index(n)] + batch.latents[n].to(answers.device)).square() for n in names]
        scale = emphasised(names, self.options.emphasis).to(answers.device)
        pixels = 1.0 if batch.weight is None else batch.weight.to(answers.device)
        square = torch.stack([error * share for error, share in zip(errors, told, strict=True)])
        return mean_error(square * self.measure.to(answers.device) * pixels, scale, self.options.error)

    def _known(self, data: DataSet, count: int, random: np.random.Generator) -> dict[str, Tensor]:
        """For each given channel 1 for the pictures of a batch in which it is given, else 0: B x 1 x 1 x 1."""
        some = random.random(count) < self.options.known
        known = {n: some & (random.random(count) < GIVEN) if n in data.wanted else np.ones(count, bool) for n in data.given}
        return {name: torch.from_numpy(where.astype(np.float32))[:, None, None, None] for name, where in known.items()}

    def _rows(self, batch: Batch, given: dict[str, Tensor]) -> Tensor:
        """The latents of all given channels side by side, zero where one is not given."""
        first = batch.latents[self.given[0]]
        rows = [batch.latents[n] * given[n].to(first.device) if n in given else torch.zeros_like(first) for n in self.given]
        return torch.cat(rows, 1)

    def _answers(self, rows: Tensor) -> Tensor:
        """Of each wanted channel: channels x B x C x h x w."""
        return from_zero(self.base, rows).unflatten(1, (len(self.wanted), -1)).movedim(1, 0)

    def save(self, folder: Path) -> None:
        """The base in diffusers layout with its own first and last layer, and the wide ones beside it."""
        network = self.base.network
        entry = network.conv_in.hub if isinstance(network.conv_in, WideEntry) else network.conv_in
        with with_layers(network, conv_in=entry, conv_out=self.narrow):
            save_base(self.base, folder)
        write_wide(folder / WIDE, network, {"given": ",".join(self.given), "wanted": ",".join(self.wanted)})
