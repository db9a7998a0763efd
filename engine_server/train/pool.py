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
from .packed import pack_files, read_pack, read_words
from .samples import Batch

Tensor = torch.Tensor
LOOK_AGAIN = 5.0
"""Seconds between looks for packs that have been written since."""
LARGE = 8192
"""Samples from which on a block is left as it is: few large blocks are drawn from with few calls, and copied seldom."""


class PixelPool:
    """A data set of packs. It grows while it is drawn from, if something writes packs into its folder."""

    def __init__(self, data: DataSet, base: Base, channels: set[str], outputs: set[str], smallest: int = 1) -> None:
        """Raises `ConfigError` for packs that do not fit the configuration."""
        self.data, self.base, self.channels, self.smallest = data, base, channels, smallest
        self.blocks: list[dict[str, Tensor]] = []
        self.taken: set[Path] = set()
        self.words: list[str] = []
        self.vocabulary: set[str] = set()
        self.places = np.zeros((0, 2), np.int64)
        if data.mask or data.side:
            raise ConfigError(f"The data set {data.folder} is packed; mask and side are for folders of pictures.")
        self.look()
        if not outputs & set(self.names):
            raise ConfigError(f"{data.folder} holds samples with only {', '.join(self.names)}, none of which is wanted.")

    @property
    def names(self) -> list[str]:
        """The channels that its samples have."""
        return list(self.blocks[0])

    @property
    def pictures(self) -> list:
        """Nothing has to be encoded before."""
        return []

    samples = ()
    """No folders of which pictures could be shown."""

    def look(self) -> None:
        """Take up what packs there are, and of the last one only what the set's limit leaves."""
        self.looked, new, count = time.monotonic(), [], len(self.places)
        for path in pack_files(Path(self.data.folder), self.taken):
            if not (self.data.limit and count >= self.data.limit):
                self.taken.add(path)
                pack = self._checked(path, self._named(read_pack(path, self.base.device)), [*self.blocks, *new])
                new.append({name: rows[: self.data.limit - count] if self.data.limit else rows for name, rows in pack.items()})
                count += len(_rows(new[-1]))
                self._hear(path, count)
        if new:
            self._take(new)

    def _hear(self, path: Path, count: int) -> None:
        """Take up the words of a pack, up to the sample of that number; samples without any have empty ones."""
        words, known = read_words(path)
        self.vocabulary |= set(known)
        self.words += words
        del self.words[count:]
        self.words += [""] * (count - len(self.words))

    def _named(self, pack: dict[str, Tensor]) -> dict[str, Tensor]:
        """By channel: a channel that `rename` maps files to takes no file of its own name."""
        renamed = set(self.data.rename.values())
        found = {self.data.rename.get(name, "" if name in renamed else name): rows for name, rows in pack.items()}
        return {name: found[name] for name in sorted(found) if name in self.channels}

    def _checked(self, path: Path, pack: dict[str, Tensor], others: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        if not pack or (others and list(pack) != list(others[0])):
            expected = ", ".join(others[0] if others else sorted(self.channels))
            raise ConfigError(f"{path} holds {', '.join(pack) or 'no channel that is used'}; expected {expected}.")
        side, usual = _rows(pack).shape[-2:], _rows(others[0]).shape[-2:] if others else None
        if min(side) < self.smallest:
            raise ConfigError(f"{path} holds {side[1]} x {side[0]} pixels, too few for crops of {self.smallest}.")
        if usual and side != usual:
            raise ConfigError(f"{path} holds {side[1]} x {side[0]} pixels; expected {usual[1]} x {usual[0]}, as the packs before.")
        return pack

    def _take(self, packs: list[dict[str, Tensor]]) -> None:
        """Join packs to the last block, or, where that is large, make them one of their own."""
        begun = bool(self.blocks) and len(_rows(self.blocks[-1])) < LARGE
        parts = [*([self.blocks.pop()] if begun else []), *packs]
        first = len(_rows(parts[0])) if begun else 0
        self.blocks.append({name: _joined([part[name] for part in parts]) for name in packs[0]})
        rows = np.arange(first, len(_rows(self.blocks[-1])))
        self.places = np.concatenate([self.places, np.stack([np.full(len(rows), len(self.blocks) - 1), rows], axis=1)])

    @torch.no_grad()
    def draw(self, count: int, cells: int, random: np.random.Generator) -> Batch:
        """The latents of crops of cells x cells of `count` samples, on the base's device; all crops lie at the same place.

        Smaller crops if the samples are smaller: the largest squares that the base takes.
        """
        if time.monotonic() - self.looked > LOOK_AGAIN:
            self.look()
        numbers = random.integers(0, len(self.places), count)
        chosen = self.places[numbers]
        sides = _rows(self.blocks[0]).shape[-2:]
        side = min(cells * self.base.factor, min(sides) // self.base.multiple * self.base.multiple)
        y, x = (int(random.integers(0, n - side + 1)) for n in sides)
        mirrored = torch.from_numpy(random.random(count) < 0.5 * self.data.mirror).to(self.base.device)[:, None, None, None]
        parts, order = self._parts(chosen)
        box = (slice(None), slice(None), slice(y, y + side), slice(x, x + side))
        pixels = {n: torch.cat([_unit(block[n][box].index_select(0, rows)) for block, rows in parts])[order] for n in self.names}
        ready = [_mirrored(rows, name, mirrored) for name, rows in pixels.items()]
        with torch.autocast(self.base.device.type, enabled=False):
            latents = self.base.encode(torch.cat(ready)).float()
        words = tuple(self.words[number] for number in numbers) if self.vocabulary else ()
        return Batch(dict(zip(self.names, latents.chunk(len(self.names)), strict=True)), words=words)

    def _parts(self, chosen: np.ndarray) -> tuple[list[tuple[dict[str, Tensor], Tensor]], Tensor]:
        """The blocks in which the chosen samples lie, each with their rows; and how what these give comes into the order chosen."""
        device, order = self.base.device, np.argsort(chosen[:, 0], kind="stable")
        rows = {number: chosen[chosen[:, 0] == number, 1] for number in np.unique(chosen[:, 0])}
        parts = [(self.blocks[number], torch.from_numpy(found).to(device)) for number, found in rows.items()]
        return parts, torch.from_numpy(np.argsort(order)).to(device)


def _rows(pack: dict[str, Tensor]) -> Tensor:
    return next(iter(pack.values()))


def _joined(rows: list[Tensor]) -> Tensor:
    """One below the other; grey pictures take as many components as others of their channel have."""
    widest = max(part.shape[1] for part in rows)
    return torch.cat([part.expand(-1, widest, -1, -1) for part in rows])


def _unit(rows: Tensor) -> Tensor:
    """Bytes B x C x H x W as B x 3 x H x W in -1..1."""
    return (rows.float() / 127.5 - 1).expand(-1, 3, -1, -1)


def _mirrored(rows: Tensor, channel: str, which: Tensor) -> Tensor:
    """Some of the pictures mirrored left to right; the normals' x changes its sign."""
    sign = rows.new_tensor([-1.0, 1.0, 1.0])[:, None, None] if channel == "normals" else 1.0
    return torch.where(which, rows.flip(-1) * sign, rows)
