# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples for a team: folders of channel pictures, any subset per sample, kept as latents."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from ..diffusion.base import Base
from ..teamwork.pictures import as_picture, to_pixels
from .config import ConfigError, DataSet
from .precision import mixed_precision

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
    """Latents of picture files, encoded once and kept beside the run, so that a restart does not encode again.

    Pictures with the same pixels (a map that is one colour) are kept once. The file holds one block for each shape of
    latents, and in its metadata which picture is which row of which block.
    """

    def __init__(self, base: Base, path: Path, precision: str = "float32", say: Callable[[str], None] = print) -> None:
        self.base, self.path, self.precision, self.say = base, path, precision, say
        self.blocks: list[Tensor] = []
        self.places: dict[str, tuple[int, int]] = {}
        if path.exists():
            self._read()

    def fill(self, files: list[Path], batch: int = 8) -> None:
        """Encode those files that are not there yet."""
        missing = [f for f in dict.fromkeys(files) if str(f) not in self.places]
        by_size: dict[tuple[int, int], list[Path]] = {}
        for file in missing:
            with Image.open(file) as picture:
                by_size.setdefault(picture.size, []).append(file)
        for alike in by_size.values():
            self._add_block(alike, batch)
        if missing:
            self.save()

    def save(self) -> None:
        """Write the cache in one move, so that a run that is stopped meanwhile leaves the last whole one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        blocks = {str(i): block for i, block in enumerate(self.blocks)}
        save_file(blocks, partial, metadata={"places": json.dumps(self.places)})
        os.replace(partial, self.path)

    def _read(self) -> None:
        with safe_open(self.path, "pt") as file:
            self.places = {name: tuple(place) for name, place in json.loads(file.metadata()["places"]).items()}
            self.blocks = [file.get_tensor(str(i)) for i in range(len(file.keys()))]

    def _add_block(self, files: list[Path], batch: int) -> None:
        """One tensor for all: single rows, allocated between an encoder's large buffers, would tear the memory apart."""
        digests = {file: hashlib.sha256(file.read_bytes()).digest() for file in files}
        unique = list({digest: file for file, digest in reversed(digests.items())}.values())[::-1]
        row = {digests[file]: i for i, file in enumerate(unique)}
        block = None
        for start in range(0, len(unique), batch):
            latents = self._encode(unique[start : start + batch])
            block = latents.new_empty(len(unique), *latents.shape[1:]) if block is None else block
            block[start : start + len(latents)] = latents
            if start % 2000 < batch <= start:
                self.say(f"{start} of {len(unique)} pictures encoded")
        self.places |= {str(file): (len(self.blocks), row[digest]) for file, digest in digests.items()}
        self.blocks.append(block)

    def _encode(self, files: list[Path]) -> Tensor:
        pictures = [as_picture(f.stem, np.asarray(Image.open(f))) for f in files]
        with torch.no_grad(), mixed_precision(self.precision):
            return self.base.encode(to_pixels(pictures)).half()

    def __getitem__(self, path: Path) -> Tensor:
        block, row = self.places[str(path)]
        return self.blocks[block][row].float()


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
