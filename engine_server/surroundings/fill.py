# SPDX-License-Identifier: GPL-3.0-or-later
"""Holes in pictures filled with what lies around them, all channels together: for teams that make nothing of their own.

A small copy of the picture is filled piece by piece (`patchwork`), and a still smaller one, where lines that the hole leaves little
of go astray less often, but grain is lost: so it is only used where what it makes is much more like what is known. Then, from coarse
to fine, two things take turns: each window that overlaps the hole looks for the known window that is most like it, and each pixel of
the hole becomes the mean of what the windows over it would have there (Wexler, Shechtman and Irani, "Space-Time Completion of Video",
PAMI 2007). Where there are many windows, each looks where it and its neighbours found something before, and nearby (`search`). In the
end each pixel is that of the most similar window over it, for means take the grain away, and what shows where pieces meet is made up
for (`joints`). A window spans all channels: a joint in the albedo is a joint in the normals.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..membrane import filled
from .joints import joined
from .levels import Level, levels_of
from .patchwork import PIECE, Patchwork
from .search import Search
from .windows import MANY, Grid, Tensor, components, described

TURNS = (6, 4, 3)
"""Turns on the coarsest level, the next one, and on each one that follows; a single one where a level has many pixels."""
SURELY = 0.6
"""The smaller start is used if its windows are at most so many times as unlike the known ones as the usual start's."""
COMPARED = 2
"""Turns after which the smaller start is compared: they are the most of what it costs."""
ALL_PAIRS, AT_ONCE = 2**27, 2**24
"""Pairs of windows up to which all are compared, and how many at once."""
FAR = 0.5
"""The quantile of the windows' differences from which on they count little."""
LEAST_SPREAD = 0.02
"""A channel that varies less counts as if it varied so much."""

Told = Callable[[int, int, Callable[[], np.ndarray]], None]


def continued(
    pictures: Mapping[str, np.ndarray],
    wanted: tuple[str, ...],
    hole: np.ndarray,
    periodic: bool = False,
    seed: int = 0,
    on_step: Told = lambda *step: None,
) -> dict[str, np.ndarray]:
    """The wanted ones of `pictures`, H x W x 3 in the model's encoding, with what is around the hole, H x W booleans, gone on in it.

    The others are known in the hole, too, and guide. If next to nothing is around the hole, it is filled smoothly. The same for
    the same seed. `on_step(step, total, preview)` is called now and then; what it raises ends the work.
    """
    hole = np.ascontiguousarray(hole)
    stack = _Stack.of(pictures, wanted, hole)
    levels, usual = levels_of(stack.values, hole, periodic)
    if not levels:
        return {name: filled(pictures[name], hole, periodic) for name in wanted}
    generator = torch.Generator().manual_seed(seed)
    with _one_thread():
        return stack.pictures(_Fill(stack, periodic, generator, levels, usual, on_step).run())


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """A second thread wins a third of the time on an idle machine; on a busy one both wait for each other, eight times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Stack:
    """Pictures as one, C x H x W, each with the same say: of mean 0 and spread 1 around the hole. The components of those that
    are not `wanted` are `guides`."""

    values: Tensor
    mean: np.ndarray
    spread: np.ndarray
    parts: Mapping[str, slice]
    guides: Tensor
    wanted: tuple[str, ...]

    @staticmethod
    def of(pictures: Mapping[str, np.ndarray], wanted: tuple[str, ...], hole: np.ndarray) -> _Stack:
        parts, components_, spreads, guides, count = {}, [], [], [], 0
        for name, picture in pictures.items():
            grey = np.ptp(picture, axis=-1).max() == 0
            components_.append(picture[..., :1] if grey else picture)
            own = components_[-1].shape[-1]
            spreads += [np.sqrt(own)] * own
            guides += [name not in wanted] * own
            parts[name], count = slice(count, count + own), count + own
        whole = np.concatenate(components_, -1).astype(np.float32)
        known = whole[~hole] if not hole.all() else whole.reshape(-1, count)
        mean = known.mean(0)
        spread = np.maximum(known.std(0), LEAST_SPREAD) * np.array(spreads, np.float32)
        values = torch.from_numpy(np.ascontiguousarray(np.moveaxis((whole - mean) / spread, -1, 0)))
        return _Stack(values, mean, spread, parts, torch.tensor(guides), wanted)

    def pictures(self, values: Tensor) -> dict[str, np.ndarray]:
        """The wanted ones again, H x W x 3."""
        whole = np.moveaxis(values.numpy(), 0, -1) * self.spread + self.mean
        cut = {name: whole[..., self.parts[name]] for name in self.wanted}
        return {name: np.repeat(part, 3, -1) if part.shape[-1] == 1 else part for name, part in cut.items()}


class _Fill:
    """The work on all levels. What is found on one is known on the next: for each pixel the known one that it is copied from."""

    def __init__(self, stack: _Stack, periodic: bool, generator: torch.Generator, levels: list[Level], usual: int, on_step: Told) -> None:
        self.stack, self.periodic, self.generator, self.on_step = stack, periodic, generator, on_step
        self.levels, self.usual = levels, usual
        whole = sum(map(self._turns, range(usual, len(levels)))) + TURNS[0]
        self.done, self.total = 0, whole + (TURNS[0] + self._turns(0) + COMPARED if usual else 0)

    def _turns(self, number: int) -> int:
        """On a level: the more the coarser it is."""
        late = max(0, number - self.usual)
        return 1 if self.levels[number][1].numel() > MANY else TURNS[min(late, len(TURNS) - 1)]

    def run(self) -> Tensor:
        """The values of the finest level."""
        found = self._begun(self.usual)
        if self.usual and (other := self._risen(self._begun(0))).unlike <= SURELY * found.unlike:
            found = other
        for number in range(self.usual + 1, len(self.levels)):
            found = self._refined(number, self._finer(found, number), self._turns(number))
        values, hole = self.levels[-1]
        made = hole & ~self.stack.guides[:, None, None]
        return joined(values, made, hole.view(-1), found.source, self.periodic)

    def _begun(self, number: int) -> _Found:
        """A level filled from nothing."""
        return self._refined(number, self._pieces(*self.levels[number]), self._turns(number))

    def _risen(self, found: _Found) -> _Found:
        """From the smaller start to the usual one, as far as it takes to compare them."""
        return self._refined(self.usual, self._finer(found, self.usual), COMPARED)

    def _finer(self, found: _Found, number: int) -> Tensor:
        return _finer(found.source, self.levels[number - 1][1].shape, self.levels[number][1])

    def _refined(self, number: int, source: Tensor, turns: int) -> _Found:
        level = _Level(*self.levels[number], self.stack.guides, self.periodic, self.generator)
        made = level.copied(source)
        for _ in range(turns):
            made, source = level.turn(made, source)
            self._told(self.done + 1, made)
        return _Found(source, level.unlike)

    def _pieces(self, values: Tensor, hole: Tensor) -> Tensor:
        grid, before = Grid(*hole.shape, self.periodic, PIECE), self.done
        work = Patchwork(values, hole, self.stack.guides, grid, self.generator)
        source = work.sources(lambda share: self._told(before + int(share * TURNS[0]), work.values))
        self._told(before + TURNS[0], work.values)
        return source

    def _told(self, done: int, values: Tensor) -> None:
        name = self.stack.wanted[0]
        if done > self.done:
            self.on_step(done, self.total, lambda: self.stack.pictures(values)[name])
            self.done = done


@dataclass(frozen=True)
class _Found:
    """For each pixel of a level the known one that it is copied from, and how unlike the known windows those over the hole are."""

    source: Tensor
    unlike: float


def _finer(source: Tensor, before: tuple[int, int], hole: Tensor) -> Tensor:
    """Where pixels are copied from at twice the size."""
    height, width = hole.shape
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    coarse = source[(row // 2) * before[1] + column // 2]
    down = (coarse // before[1] * 2 + row % 2).clamp_max(height - 1)
    right = (coarse % before[1] * 2 + column % 2).clamp_max(width - 1)
    own = torch.arange(height * width)
    return torch.where(hole.view(-1), (down * width + right).view(-1), own)


class _Level:
    """One size of the picture, and its windows: those over the hole, and the known ones, which they may become like."""

    def __init__(self, values: Tensor, hole: Tensor, guides: Tensor, periodic: bool, generator: torch.Generator) -> None:
        self.values, self.hole, self.generator = values, hole.view(-1), generator
        self.grid = Grid(*hole.shape, periodic)
        self.made = hole & ~guides[:, None, None]
        over = self.grid.any(hole).view(-1)
        self.spoilt, self.open, self.known = over, over.nonzero()[:, 0], (~over).nonzero()[:, 0]
        self.filters = components(values, self.grid, self.known, generator)
        self.described = described(values, self.grid, self.filters)
        self.found: Tensor | None = None
        self.unlike = 0.0

    def copied(self, source: Tensor) -> Tensor:
        """The picture with each pixel of the hole copied."""
        flat = self.values.flatten(1)
        return torch.where(self.made, flat[:, source].view_as(self.values), self.values)

    def turn(self, made: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """One search and one mean: the new picture, and where each pixel is copied from in the main."""
        seen = described(made, self.grid, self.filters)[self.open]
        like, off = self._compared(seen) if len(self.open) * len(self.known) <= ALL_PAIRS else self._searched(seen, source)
        self.found, self.unlike = like, float(off.mean())
        return self._mean(like, off)

    def _compared(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """The most similar of all known windows, and the squared distances."""
        there = self.described[self.known]
        size, step, best = there.square().sum(1), max(1, AT_ONCE // len(there)), []
        for first in range(0, len(seen), step):
            best.append((size - 2 * seen[first : first + step] @ there.T).argmin(1))
        like = self.known[torch.cat(best)]
        return like, (seen - self.described[like]).square().sum(1)

    def _searched(self, seen: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """A similar window among those that the pixels come from, those that were found before, and those near to them."""
        search = Search(self, seen)
        if self.found is not None:
            search.offer(self.found)
        for down, right in self.grid.offsets()[::3]:
            pixel = source[self.grid.pixels(self.open, down, right)]
            search.offer(self.grid.at(pixel // self.grid.width - down, pixel % self.grid.width - right))
        search.look_around()
        search.ask_neighbours()
        return search.like, search.off

    def _mean(self, like: Tensor, off: Tensor) -> tuple[Tensor, Tensor]:
        drawn = off[torch.randperm(len(off), generator=self.generator)[:100_000]]
        weight = torch.exp(-off / (2 * torch.quantile(drawn, FAR).clamp_min(1e-6))).clamp_min(1e-9)
        flat, count = self.values.flatten(1).T.contiguous(), len(self.hole)
        total, weights = torch.zeros(count, flat.shape[1]), torch.zeros(count)
        source, best = torch.arange(count), torch.full((count,), -1.0)
        for offset in self.grid.offsets():
            to = self.grid.pixels(self.open, *offset)
            inside = self.hole[to]
            to, come, say = to[inside], self.grid.pixels(like, *offset)[inside], weight[inside]
            total.index_add_(0, to, flat[come] * say[:, None])
            weights.index_add_(0, to, say)
            nearer = say * self._middle(*offset) > best[to]
            best[to[nearer]], source[to[nearer]] = say[nearer] * self._middle(*offset), come[nearer]
        mean = (total / weights.clamp_min(1e-12)[:, None]).T.view_as(self.values)
        return torch.where(self.made, mean, self.values), source

    def _middle(self, down: int, right: int) -> float:
        """More for pixels in the middle of a window."""
        half = self.grid.side // 2
        return 1.0 - 0.05 * ((down - half) ** 2 + (right - half) ** 2) / half**2
