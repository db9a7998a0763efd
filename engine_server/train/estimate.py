# SPDX-License-Identifier: GPL-3.0-or-later
"""A base that learns to read pictures before its team comes: one row in, all wanted channels out of a wider last layer.

A team needs a row of the network for each channel; here one row answers for all, so a sample costs a fraction of what it costs a
team. Afterwards the wide layer goes, but for one channel's part, and the stage `joint` trains base and team together from there. Like
`joint`, it is for bases too small to have learnt much from pictures alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..diffusion.base import Base
from .base import save_base, trainable_base
from .config import DataSet, TrainConfig
from .errors import ConfigError
from .latents import LatentCache
from .measure import pixel_measure
from .options import options_of
from .ranks import Ranks
from .samples import Batch, SampleSet
from .seeds import seeds

Tensor = torch.Tensor
TIME = 1000.0
"""The timestep of everything here: that of the first step from zero noise, which is where such a team answers."""


def widened(base: Base, count: int) -> nn.Conv2d:
    """A last layer that answers `count` pictures at once. Raises `ConfigError` for a base without such a convolution."""
    last = getattr(base.network, "conv_out", None)
    if not isinstance(last, nn.Conv2d):
        raise ConfigError(f"The stage estimate needs a UNet; {base.name} has no last convolution that could be widened.")
    wide = nn.Conv2d(last.in_channels, count * last.out_channels, last.kernel_size, last.stride, last.padding)
    return wide.to(last.weight.device)


class EstimateStage:
    """Squared error of all wanted channels that a batch has, from its one given channel, at the highest noise level without noise."""

    def __init__(self, config: TrainConfig, ranks: Ranks | None = None, say: Callable[[str], None] = print) -> None:
        """Raises `ConfigError` where the configuration, the data or the base do not fit each other."""
        torch.manual_seed(config.seed)
        self.config, self.options, ranks = config, options_of(config), ranks or Ranks("cpu")
        self.base = trainable_base(config, self.options.shift, str(ranks.device))
        self.wanted = sorted({name for data in config.data for name in data.wanted})
        self.measure = pixel_measure(self.base)
        wide = widened(self.base, len(self.wanted))
        self.narrow, self.base.network.conv_out = self.base.network.conv_out, wide
        self.base.network.requires_grad_(True).train().to(memory_format=torch.channels_last)
        self.sizes = self.options.sizes or ((config.crop, config.batch),)
        cache = LatentCache(self.base, Path(self.options.latents or f"{config.output}/latents.safetensors"), config.precision, say)
        self.sets = [self._set(data, cache) for data in config.data]
        ranks.first_alone(lambda: cache.fill([p for s in self.sets for p in s.pictures]))
        cache.open()
        weights = np.array([data.weight for data in config.data])
        self.weights = weights / weights.sum()

    def _set(self, data: DataSet, cache: LatentCache) -> SampleSet:
        if len(data.given) != 1 or not data.wanted:
            raise ConfigError(f"The data set {data.folder}: the stage estimate needs one channel in `given`, and `wanted`.")
        return SampleSet(data, cache, {*data.given, *data.wanted}, set(data.wanted), min(crop for crop, _ in self.sizes))

    def parameters(self) -> list[nn.Parameter]:
        """The network's, its wide last layer among them."""
        return list(self.base.network.parameters())

    def loss(self, number: int) -> Tensor:
        """Of the batch of this number, from one data set."""
        random = seeds(self.config.seed, number).choices
        chosen = self.sets[random.choice(len(self.sets), p=self.weights)]
        crop, count = self.sizes[random.integers(len(self.sizes))]
        return self._loss(chosen.draw(count, crop // self.base.factor, random), chosen.data)

    def _loss(self, batch: Batch, data: DataSet) -> Tensor:
        names = [name for name in data.wanted if name in batch.latents]
        answers = self._answers(batch.latents[data.given[0]])
        errors = [(answers[self.wanted.index(n)] + batch.latents[n].to(answers.device)).square() for n in names]
        weight = torch.tensor([self.options.emphasis.get(n, 1.0) for n in names])
        scale = (weight / weight.mean()).to(answers.device)[:, None, None, None, None] * self.measure.to(answers.device)
        pixels = 1.0 if batch.weight is None else batch.weight.to(answers.device)
        return (torch.stack(errors) * scale * pixels).mean()

    def _answers(self, rows: Tensor) -> Tensor:
        """The velocity of each wanted channel from zero noise, which is minus its clean latents: channels x B x C x h x w."""
        rows = rows.to(self.base.device, self.base.dtype, memory_format=torch.channels_last)
        conditions = self.base.conditions(len(rows), *(side * self.base.factor for side in rows.shape[-2:]))
        time = torch.full((len(rows),), TIME, device=rows.device)
        answers = self.base.predict(rows, time, conditions).float()
        return answers.unflatten(1, (len(self.wanted), -1)).movedim(1, 0)

    def save(self, folder: Path) -> None:
        """The base in diffusers layout; its last layer is the part of the first wanted channel."""
        with self._narrowed():
            save_base(self.base, folder)

    @contextlib.contextmanager
    def _narrowed(self) -> Iterator[None]:
        wide, network = self.base.network.conv_out, self.base.network
        with torch.no_grad():
            for narrow, part in ((self.narrow.weight, wide.weight), (self.narrow.bias, wide.bias)):
                narrow.copy_(part[: len(narrow)])
        network.conv_out = self.narrow
        try:
            yield
        finally:
            network.conv_out = wide
