# SPDX-License-Identifier: GPL-3.0-or-later
"""Packed samples in the memory of the device that trains: crops are cut and encoded there, batch by batch.

Pictures stay bytes: many thousands of 256 x 256 fit into a GPU's memory, where latents would take eight times as much.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from ..diffusion.base import Base
from .config import DataSet
from .errors import ConfigError
from .packed import pack_files, read_pack
from .samples import Batch

Tensor = torch.Tensor
LOOK_AGAIN = 5.0
"""Seconds between looks for packs that have been written since."""


class PixelPool:
    """A data set of packs. It grows while it is drawn from, if something writes packs into its folder."""

    def __init__(self, data: DataSet, base: Base, channels: set[str], outputs: set[str], smallest: int = 1) -> None:
        """Raises `ConfigError` for packs that do not fit the configuration."""
        self.data, self.base, self.channels, self.smallest = data, base, channels, smallest
        self.packs: list[dict[str, Tensor]] = []
        self.taken: set[Path] = set()
        self.places = np.zeros((0, 2), np.int64)
        if data.mask or data.side:
            raise ConfigError(f"The data set {data.folder} is packed; mask and side are for folders of pictures.")
        self.look()
        if not outputs & set(self.names):
            raise ConfigError(f"{data.folder} holds samples with only {', '.join(self.names)}, none of which is wanted.")

    @property
    def names(self) -> list[str]:
        """The channels that its samples have."""
        return list(self.packs[0])

    @property
    def pictures(self) -> list:
        """Nothing has to be encoded before."""
        return []

    samples = ()
    """No folders of which pictures could be shown."""

    def look(self) -> None:
        """Take up what packs there are."""
        self.looked = time.monotonic()
        for path in pack_files(Path(self.data.folder)):
            if path not in self.taken and not self._full:
                self.taken.add(path)
                self._take(path, self._named(read_pack(path, self.base.device)))

    @property
    def _full(self) -> bool:
        return bool(self.data.limit) and len(self.places) >= self.data.limit

    def _named(self, pack: dict[str, Tensor]) -> dict[str, Tensor]:
        """By channel: a channel that `rename` maps files to takes no file of its own name."""
        renamed = set(self.data.rename.values())
        found = {self.data.rename.get(name, "" if name in renamed else name): rows for name, rows in pack.items()}
        return {name: found[name] for name in sorted(found) if name in self.channels}

    def _take(self, path: Path, pack: dict[str, Tensor]) -> None:
        if not pack or (self.packs and list(pack) != self.names):
            expected = ", ".join(self.names if self.packs else sorted(self.channels))
            raise ConfigError(f"{path} holds {', '.join(pack) or 'no channel that is used'}; expected {expected}.")
        rows = next(iter(pack.values()))
        if min(rows.shape[-2:]) < self.smallest:
            raise ConfigError(f"{path} holds {rows.shape[-1]} x {rows.shape[-2]} pixels, too few for crops of {self.smallest}.")
        new = np.stack([np.full(len(rows), len(self.packs)), np.arange(len(rows))], axis=1)
        self.packs.append(pack)
        self.places = np.concatenate([self.places, new])

    @torch.no_grad()
    def draw(self, count: int, cells: int, random: np.random.Generator) -> Batch:
        """The latents of crops of cells x cells of `count` samples, on the base's device; all crops lie at the same place."""
        if time.monotonic() - self.looked > LOOK_AGAIN:
            self.look()
        chosen = [self.places[i] for i in random.integers(0, len(self.places), count)]
        side = cells * self.base.factor
        height, width = next(iter(self.packs[chosen[0][0]].values())).shape[-2:]
        y, x = (int(random.integers(0, n - side + 1)) for n in (height, width))
        mirrored = torch.from_numpy(random.random(count) < 0.5 * self.data.mirror).to(self.base.device)[:, None, None, None]
        pixels = [torch.stack([self.packs[p][n][i, :, y : y + side, x : x + side] for p, i in chosen]) for n in self.names]
        ready = [_mirrored(_unit(rows), n, mirrored) for n, rows in zip(self.names, pixels, strict=True)]
        with torch.autocast(self.base.device.type, enabled=False):
            latents = self.base.encode(torch.cat(ready)).float()
        return Batch(dict(zip(self.names, latents.chunk(len(self.names)), strict=True)))


def _unit(rows: Tensor) -> Tensor:
    """Bytes B x C x H x W as B x 3 x H x W in -1..1."""
    return (rows.float() / 127.5 - 1).expand(-1, 3, -1, -1)


def _mirrored(rows: Tensor, channel: str, which: Tensor) -> Tensor:
    """Some of the pictures mirrored left to right; the normals' x changes its sign."""
    sign = rows.new_tensor([-1.0, 1.0, 1.0])[:, None, None] if channel == "normals" else 1.0
    return torch.where(which, rows.flip(-1) * sign, rows)
