# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples for a team: folders of channel pictures, any subset per sample, kept as latents."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ..diffusion.base import Base
from ..teamwork.pictures import as_picture, to_pixels
from .config import ConfigError, DataSet

Tensor = torch.Tensor


def sample_files(data: DataSet) -> dict[str, dict[str, list[Path]]]:
    """`{sample: {channel: files}}` of a set; several files may stand for one channel (a flash and a daylight photo).

    A channel that `rename` maps files to takes no file of its own name. Raises `ConfigError` for an empty folder.
    """
    taken = set(data.rename.values())
    samples: dict[str, dict[str, list[Path]]] = {}
    for path in sorted(Path(data.folder).glob("*/*.png")):
        channel = data.rename.get(path.stem, "" if path.stem in taken else path.stem)
        if channel:
            samples.setdefault(path.parent.name, {}).setdefault(channel, []).append(path)
    if not samples:
        raise ConfigError(f"The data folder {data.folder} holds no <sample>/<channel>.png.")
    return samples


class LatentCache:
    """Latents of picture files, encoded once and kept beside the run, so that a restart does not encode again."""

    def __init__(self, base: Base, path: Path) -> None:
        self.base, self.path = base, path
        self.kept: dict[str, Tensor] = load_file(path) if path.exists() else {}

    def fill(self, files: list[Path], batch: int = 16) -> None:
        """Encode those files that are not there yet; all are of one size."""
        missing = [f for f in dict.fromkeys(files) if str(f) not in self.kept]
        for start in range(0, len(missing), batch):
            self._encode(missing[start : start + batch])
        if missing:
            self.save()

    def save(self) -> None:
        """Write the cache in one move, so that a run that is stopped meanwhile leaves the last whole one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        save_file(self.kept, partial)
        os.replace(partial, self.path)

    def _encode(self, files: list[Path]) -> None:
        pictures = [as_picture(f.stem, np.asarray(Image.open(f))) for f in files]
        for size in {p.shape for p in pictures}:
            alike = [(f, p) for f, p in zip(files, pictures, strict=True) if p.shape == size]
            latents = self.base.encode(to_pixels([p for _, p in alike])).half()
            for (file, _), latent in zip(alike, latents, strict=True):
                self.kept[str(file)] = latent.clone(memory_format=torch.contiguous_format)

    def __getitem__(self, path: Path) -> Tensor:
        return self.kept[str(path)].float()


class SampleSet:
    """One data set in memory."""

    def __init__(self, data: DataSet, cache: LatentCache, channels: set[str]) -> None:
        self.data, self.cache = data, cache
        found = list(sample_files(data).values())[: data.limit or None]
        self.samples = [{c: f for c, f in s.items() if c in channels} for s in found]
        cache.fill([f for sample in self.samples for files in sample.values() for f in files])

    def draw(self, count: int, cells: int, random: np.random.Generator) -> tuple[list[str], Tensor]:
        """Latent crops of `count` random samples: channel names, and channels x count x C x cells x cells.

        Only the channels that all the drawn samples have are given.
        """
        chosen = [self.samples[i] for i in random.integers(len(self.samples), size=count)]
        names = sorted(set.intersection(*(set(sample) for sample in chosen)))
        stacks = [self._crop(sample, names, cells, random) for sample in chosen]
        return names, torch.stack(stacks, dim=1)

    def _crop(self, sample: dict[str, list[Path]], names: list[str], cells: int, random: np.random.Generator) -> Tensor:
        latents = torch.stack([self.cache[sample[n][random.integers(len(sample[n]))]] for n in names])
        y, x = (2 * int(random.integers(0, max(0, s - cells) // 2 + 1)) for s in latents.shape[-2:])
        return latents[..., y : y + cells, x : x + cells]
