# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples for a team: batches of latent crops from heterogeneous data sets, each sample with the channels that it has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch

from .config import DataSet
from .errors import ConfigError
from .files import Sample, find_samples
from .latents import MASK, LatentCache, Picture

Tensor = torch.Tensor


@dataclass(frozen=True)
class Batch:
    """Latents of each channel, B x C x h x w, the weight of each cell, B x 1 x h x w (None: all count the same), and words for each
    sample, if there are any."""

    latents: dict[str, Tensor]
    weight: Tensor | None = None
    words: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The channels."""
        return list(self.latents)


class SampleSet:
    """One data set: its samples, grouped by the channels that they have.

    A batch runs through the network with the same teammates active in all its images. So its samples come from one
    group, which is drawn as often as it has samples: every sample is drawn alike, with all that it has.
    """

    def __init__(self, data: DataSet, cache: LatentCache, channels: set[str], outputs: set[str], smallest: int = 1) -> None:
        """Raises `ConfigError` for data that do not fit (see `find_samples`), and if no sample has one of `outputs`."""
        self.data, self.cache = data, cache
        self.cells = cache.base.multiple // cache.base.factor  # sides of crops are multiples of this
        if data.mirror:
            raise ConfigError(f"The data set {data.folder} is a folder of pictures; mirror is for packs (engine_server.train.packed).")
        found = find_samples(data, channels, smallest)
        wanted = set(data.wanted or outputs) & outputs
        self.samples = [sample for sample in found if wanted & set(sample.channels)]
        if not self.samples:
            has = ", ".join(sorted({name for sample in found for name in sample.channels}))
            raise ConfigError(f"{data.folder} holds samples with only {has}, none of which the team shall make.")
        self.groups: dict[tuple[str, ...], list[Sample]] = {}
        for sample in self.samples:
            self.groups.setdefault(tuple(sample.channels), []).append(sample)

    vocabulary: Collection[str] = ()
    """Only packed samples have words."""

    @property
    def names(self) -> list[str]:
        """The channels that any of its samples has."""
        return sorted({name for group in self.groups for name in group})

    @property
    def pictures(self) -> list[Picture]:
        """All that has to be encoded."""
        return [p for sample in self.samples for p in self._of(sample)]

    def _of(self, sample: Sample) -> list[Picture]:
        side = self.data.side
        pictures = [Picture(f, channel, side) for channel, files in sample.channels.items() for f in files]
        return pictures + ([Picture(sample.mask, MASK, side)] if sample.mask else [])

    def draw(self, count: int, cells: int, random: np.random.Generator) -> Batch:
        """Crops of cells x cells of `count` samples that have the same channels; smaller ones if a sample is smaller."""
        first = self.samples[random.integers(len(self.samples))]
        group = self.groups[tuple(first.channels)]
        chosen = [first] + [group[random.integers(len(group))] for _ in range(count - 1)]
        whole = [self._whole(sample, random) for sample in chosen]
        side = min(cells, *(n for rows in whole for n in rows[MASK].shape[-2:]))
        crops = [_crop(rows, side // self.cells * self.cells, random) for rows in whole]
        latents = {name: torch.stack([crop[name] for crop in crops]) for name in first.channels}
        if all(sample.mask is None for sample in chosen):
            return Batch(latents)
        return Batch(latents, torch.stack([crop[MASK] for crop in crops]))

    def _whole(self, sample: Sample, random: np.random.Generator) -> dict[str, Tensor]:
        """The latents of each channel and the weights, of one of the files for each."""
        files = {name: files[random.integers(len(files))] for name, files in sample.channels.items()}
        whole = {name: self.cache[Picture(file, name, self.data.side)] for name, file in files.items()}
        height, width = next(iter(whole.values())).shape[-2:]
        whole[MASK] = torch.ones(1, height, width)
        if sample.mask:
            whole[MASK] = self.cache[Picture(sample.mask, MASK, self.data.side)]
        return whole


def _crop(whole: dict[str, Tensor], side: int, random: np.random.Generator) -> dict[str, Tensor]:
    height, width = whole[MASK].shape[-2:]
    y, x = (2 * int(random.integers(0, (n - side) // 2 + 1)) for n in (height, width))
    return {name: rows[..., y : y + side, x : x + side] for name, rows in whole.items()}
