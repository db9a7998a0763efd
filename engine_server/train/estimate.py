# SPDX-License-Identifier: GPL-3.0-or-later
"""A base that learns to read pictures before its team comes: one row in, all wanted channels out of a wider last layer.

A team needs a row of the network for each channel; here one row answers for all, so a sample costs a fraction of what it costs a
team. The wide layer looks at single cells, as the adapter of a team does: `graft` makes a team of base and layer that answers just the
same, and can learn more. Like `joint`, it is for bases too small to have learnt much from pictures alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from ..diffusion.base import Base
from ..diffusion.loading import load_base
from ..whole import whole_file
from .base import save_base, trainable_base
from .config import DataSet, TrainConfig
from .errors import ConfigError
from .latents import LatentCache
from .measure import emphasised, mean_error, pixel_measure
from .options import options_of
from .ranks import Ranks
from .samples import Batch, SampleSet, shares
from .seeds import seeds

Tensor = torch.Tensor
WIDE = "wide.safetensors"
TIME = 1000.0
"""The timestep of everything here: that of the first step from zero noise, which is where such a team answers."""


def widened(base: Base, count: int, stage: str = "estimate") -> nn.Conv2d:
    """A last layer that answers `count` pictures at once. Raises `ConfigError` for a base that has no such convolution."""
    last = getattr(base.network, "conv_out", None)
    if not isinstance(last, nn.Conv2d):
        raise ConfigError(f"The stage {stage} needs a UNet; {base.name} has no last convolution that could be widened.")
    return nn.Conv2d(last.in_channels, count * last.out_channels, 1).to(last.weight.device)


def answers_of(base: Base, rows: Tensor, times: Tensor) -> Tensor:
    """What a base with a wide last layer answers at these timesteps: B x (channels C) x h x w."""
    rows = rows.to(base.device, base.dtype, memory_format=torch.channels_last)
    conditions = base.conditions(len(rows), *(side * base.factor for side in rows.shape[-2:]))
    return base.predict(rows, times.to(rows.device), conditions).float()


def from_zero(base: Base, rows: Tensor) -> Tensor:
    """The velocities from zero noise, which are minus the clean latents: B x (channels C) x h x w."""
    return answers_of(base, rows, torch.full((len(rows),), TIME))


@contextlib.contextmanager
def with_layers(network: nn.Module, **layers: nn.Module) -> Iterator[None]:
    """A network with other layers in the places of its own, for a while."""
    own = {name: getattr(network, name) for name in layers}
    try:
        for name, layer in layers.items():
            setattr(network, name, layer)
        yield
    finally:
        for name, layer in own.items():
            setattr(network, name, layer)


def read_wide(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What a file says of its wide layer ("given", "wanted"), and the layer's weights."""
    with safe_open(path, "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}


class Teacher:
    """What the stage `estimate` left in a folder, as a whole: it answers all channels from one, for a team to learn from.

    Its answers are the mean of what is possible, without the noise that single samples have around it.
    """

    def __init__(self, folder: Path, device: str) -> None:
        """Raises `ConfigError` if the folder is not of that stage."""
        if not (folder / WIDE).is_file():
            raise ConfigError(f"options.teacher: {folder} has no {WIDE}; it is not a result of the stage estimate.")
        facts, weights = read_wide(folder / WIDE)
        self.given, self.wanted = facts["given"], facts["wanted"].split(",")
        self.base = load_base(folder, device)
        self.head = weights
        self.base.network.conv_out = widened(self.base, len(self.wanted))
        self.base.network.conv_out.load_state_dict(weights)
        self.base.network.requires_grad_(False).eval().to(memory_format=torch.channels_last)

    @torch.no_grad()
    def taught(self, batch: Batch) -> Batch:
        """The batch with the teacher's answers in the place of those channels that it knows."""
        answers = -from_zero(self.base, batch.latents[self.given]).cpu()
        parts = dict(zip(self.wanted, answers.chunk(len(self.wanted), dim=1), strict=True))
        return Batch({name: parts.get(name, clean) for name, clean in batch.latents.items()}, batch.weight)


class EstimateStage:
    """Error of all wanted channels that a batch has, from its one given channel, at the highest noise level without noise."""

    def __init__(self, config: TrainConfig, ranks: Ranks | None = None, say: Callable[[str], None] = print) -> None:
        """Raises `ConfigError` where the configuration, the data or the base do not fit each other."""
        torch.manual_seed(config.seed)
        self.config, self.options, ranks = config, options_of(config), ranks or Ranks("cpu")
        self.base = trainable_base(config, self.options.shift, str(ranks.device))
        self.wanted = sorted({name for data in config.data for name in data.wanted})
        if hasattr(self.base.template, "alphas_cumprod"):
            raise ConfigError(f"The stage estimate needs flow matching; {self.base.name} predicts noise or velocity of a diffusion.")
        self.measure = pixel_measure(self.base)
        wide = self._wide(Path(config.base) / WIDE)
        self.narrow, self.base.network.conv_out = self.base.network.conv_out, wide
        self.base.network.requires_grad_(True).train().to(memory_format=torch.channels_last)
        self.sizes = self.options.sizes or ((config.crop, config.batch),)
        cache = LatentCache(self.base, Path(self.options.latents or f"{config.output}/latents.safetensors"), config.precision, say)
        self.sets = [self._set(data, cache) for data in config.data]
        ranks.first_alone(lambda: cache.fill([p for s in self.sets for p in s.pictures]))
        cache.open()
        self.weights = shares(self.sets)

    def _set(self, data: DataSet, cache: LatentCache) -> SampleSet:
        if len(data.given) != 1 or data.given != self.config.data[0].given or not data.wanted:
            needs = "one channel in `given`, the same for all data sets, and `wanted`"
            raise ConfigError(f"The data set {data.folder}: the stage estimate needs {needs}.")
        return SampleSet(data, cache, {*data.given, *data.wanted}, set(data.wanted), min(crop for crop, _ in self.sizes))

    def _wide(self, found: Path) -> nn.Conv2d:
        """The wide layer: what an earlier run left beside the base, or a fresh one."""
        wide = widened(self.base, len(self.wanted))
        if found.is_file():
            facts, weights = read_wide(found)
            if facts["wanted"].split(",") != self.wanted:
                raise ConfigError(f"{found} is for {facts['wanted']}; this run wants {','.join(self.wanted)}.")
            wide.load_state_dict(weights)
        return wide

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
        scale = emphasised(names, self.options.emphasis).to(answers.device)
        pixels = 1.0 if batch.weight is None else batch.weight.to(answers.device)
        return mean_error(torch.stack(errors) * self.measure.to(answers.device) * pixels, scale, self.options.error)

    def _answers(self, rows: Tensor) -> Tensor:
        """Of each wanted channel: channels x B x C x h x w."""
        return from_zero(self.base, rows).unflatten(1, (len(self.wanted), -1)).movedim(1, 0)

    def save(self, folder: Path) -> None:
        """The base in diffusers layout with its own last layer, which learns nothing here, and the wide one beside it."""
        wide = {name: value.contiguous() for name, value in self.base.network.conv_out.state_dict().items()}
        with with_layers(self.base.network, conv_out=self.narrow):
            save_base(self.base, folder)
        with whole_file(folder / WIDE) as partial:
            save_file(wide, partial, metadata={"given": self.config.data[0].given[0], "wanted": ",".join(self.wanted)})
