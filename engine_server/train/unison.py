# SPDX-License-Identifier: GPL-3.0-or-later
"""A base that makes all channels of a surface together in one row, before its team comes: synthesis and inpainting at a row's cost.

The row belongs to one wanted channel, the hub. A wide first layer adds to what the hub's latents give what those of all other teammates
give, given and wanted ones, cell by cell; a wide last layer answers for all wanted channels. `graft` makes a team of it that answers
just the same: its adapters on the first and the last layer are the two wide layers. It is trained on nothing given, on holes of which
a mask tells, and on any channels given, and answers with the clean latents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import nn

from ..diffusion.base import Base, Prompts
from ..teamwork.asked import HOLLOW
from .base import check_crops, has_network, save_base, trainable_base
from .config import TrainConfig
from .estimate import GIVEN, answers_of
from .holes import random_hole
from .latents import LatentCache
from .measure import checked_emphasis, emphasised, pixel_measure
from .objectives import Diffusion
from .options import options_of
from .ranks import Ranks
from .samples import Batch
from .seeds import on_device, seeds
from .sets import sample_set, shares
from .wide import WIDE, check_teammates, read_wide, take_wide, widened, with_entry, with_layers, write_wide
from .wordtable import WordTable

Tensor = torch.Tensor
LARGEST = 6.0
"""What a timestep counts at most."""
HUB_KNOWN = 0.8
"""How often the hub is known outside a hole."""


def broadened(base: Base, teammates: tuple[str, ...], hub: str) -> nn.Conv2d:
    """Put the wide first and last layer onto a base; returns its own last layer. Raises `ConfigError` for a base that is no UNet."""
    network = base.network
    wide = widened(base, sum(name.endswith(".out") for name in teammates), "unison")
    narrow, network.conv_out = network.conv_out, wide
    with_entry(base, len(teammates), teammates.index(hub))
    return narrow


def clean_scheduler() -> DDIMScheduler:
    """Of a network that answers with the clean latents. Velocity would have to bring the noise of all channels through the features of
    one row, which are far fewer: what is left of it would stay in the pictures."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        clip_sample=False,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def spread_base(config: TrainConfig, spread: float, device: str) -> Base:
    """The base at `config.base`, or a fresh one whose latents have the deviation `spread` instead of 1.

    Noise of the strength 1 hides a single cell, but hardly what is as large as a brick, which many cells tell together: with small
    latents enough of the noise levels do (Chen, arXiv 2301.10972).
    """
    base = trainable_base(config, 1.0, device)
    if not has_network(config.base):
        base.vae.register_to_config(scaling_factor=base.scaling * spread)
    return base


@dataclass(frozen=True)
class Draft:
    """A batch before it is seen, on one device: latents by channel, who is at work on each picture, holes B x 1 x h x w (1 in a hole,
    and everywhere in a picture without a mask), and the timesteps B x 1 x 1 x 1."""

    latents: dict[str, Tensor]
    roles: list[set[str]]
    holes: Tensor
    spread: Tensor

    def at_work(self, name: str) -> Tensor:
        """On which pictures a teammate is, B x 1 x 1 x 1."""
        return torch.tensor([name in roles for roles in self.roles]).to(self.holes.device)[:, None, None, None]


def _holes(roles: list[set[str]], side: tuple[int, int], random: np.random.Generator) -> Tensor:
    return torch.stack([random_hole(side, random) if "mask.in" in each else torch.ones(side) for each in roles])[:, None]


class UnisonStage:
    """Error of the clean latents of all wanted channels, each picture with its own teammates at work."""

    def __init__(self, config: TrainConfig, ranks: Ranks | None = None, say: Callable[[str], None] = print) -> None:
        """Raises `ConfigError` or `TeamError` where the configuration, the data or the base do not fit each other."""
        torch.manual_seed(config.seed)
        self.config, self.options, ranks = config, options_of(config), ranks or Ranks("cpu")
        self.teammates = self.options.teammates
        check_teammates(self.teammates)
        self.outputs = [name for name in self.teammates if name.endswith(".out")]
        checked_emphasis(self.options.emphasis, [name.removesuffix(".out") for name in self.outputs])
        self.channels = sorted({name.rpartition(".")[0] for name in self.teammates} - {"mask"})
        self.base = spread_base(config, self.options.spread, str(ranks.device))
        self.hub = self.options.hub.removesuffix(".out")
        self.measure = pixel_measure(self.base, self.options.spread).sqrt().to(self.base.device)
        self.narrow = broadened(self.base, self.teammates, self.options.hub)
        self.base.template = clean_scheduler()
        self.objective = Diffusion(self.base.template.alphas_cumprod.to(self.base.device), "sample")
        self._take_up(Path(config.base) / WIDE)
        self.base.network.requires_grad_(True).train().to(memory_format=torch.channels_last)
        side = 4 * self.base.multiple
        middle = side // self.base.factor // 2
        self.hollow = self._encoded(torch.full((1, 3, side, side), 2 * HOLLOW - 1.0))[0, :, middle, middle, None, None]
        self.sizes = self.options.sizes or ((config.crop, config.batch),)
        check_crops(self.base, [crop for crop, _ in self.sizes])
        cache = LatentCache(self.base, Path(self.options.latents or f"{config.output}/latents.safetensors"), config.precision, say)
        smallest = min(crop for crop, _ in self.sizes)
        self.sets = [sample_set(data, cache, set(self.channels), set(self.channels), smallest) for data in config.data]
        ranks.first_alone(lambda: cache.fill([p for s in self.sets for p in s.pictures]))
        cache.open()
        self.weights = shares(self.sets)
        self.words = WordTable(self.base, sorted({word for s in self.sets for word in s.vocabulary}), self.options)

    def _take_up(self, found: Path) -> None:
        """What an earlier run of this stage left beside the base."""
        if not found.is_file():
            return
        facts, weights = read_wide(found)
        if facts.get("teammates", "") == ",".join(self.teammates):
            take_wide(self.base.network, weights)

    def parameters(self) -> list[nn.Parameter]:
        """The network's, its wide layers among them, and the vectors of the words, if there are any."""
        return [*self.base.network.parameters(), *self.words.parameters()]

    def loss(self, number: int) -> Tensor:
        """Of the batch of this number, from one data set."""
        streams = seeds(self.config.seed, number)
        chosen = self.sets[streams.choices.choice(len(self.sets), p=self.weights)]
        crop, count = self.sizes[streams.choices.integers(len(self.sizes))]
        batch = chosen.draw(count, crop // self.base.factor, streams.choices)
        roles = [self._roles(set(batch.latents), streams.choices) for _ in range(count)]
        return self.loss_of(batch, roles, streams.choices, streams.noise)

    def loss_of(self, batch: Batch, roles: list[set[str]], random: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Mean squared error of the clean latents of the wanted channels, weighed by timestep, by channel, by
        the latents' measure, by pixel and by holes; `roles` are the teammates at work on each picture."""
        device = self.base.device
        latents = {name: clean.to(device) for name, clean in batch.latents.items()}
        first = next(iter(latents.values()))
        level, _ = self.objective.draw(len(first), self.options.start_share, generator)
        made = Draft(latents, roles, _holes(roles, first.shape[-2:], random).to(device), level.to(device)[:, None, None, None])
        generator = on_device(generator, device)
        noise = {n: torch.randn(first.shape, generator=generator, device=device) for n in self.outputs}
        rows = [torch.where(made.at_work(n), self._row(n, made, noise), 0.0) for n in self.teammates]
        prompts = self.words.prompts(batch.words or ("",) * len(first), random)
        answers = self._answers(torch.cat(rows, 1), level, prompts).unflatten(1, (len(self.outputs), -1)).movedim(1, 0)
        errors = [self._error(n, answer, made) for n, answer in zip(self.outputs, answers, strict=True)]
        scale = emphasised([n.removesuffix(".out") for n in self.outputs], self.options.emphasis).to(device)
        pixels = 1.0 if batch.weight is None else batch.weight.to(device)
        return (torch.stack(errors) * pixels * scale).mean()

    def _error(self, name: str, answer: Tensor, made: Draft) -> Tensor:
        """B x C x h x w; nothing where the teammate is not at work."""
        clean = made.latents.get(name.removesuffix(".out"))
        if clean is None:
            return torch.zeros_like(answer)
        square = (answer - clean).square() * self._weight(made.spread)
        counts = torch.where(made.holes > 0, 1.0, self.options.outside)
        return square * self.measure * counts * made.at_work(name)

    def _weight(self, level: Tensor) -> Tensor:
        """What a timestep counts: 1 + s^2 SNR with latents of the deviation s, as the error of the velocity would where s is 1, and as
        Karras et al. have it (arXiv 2206.00364, their lambda times s^2); but at most `LARGEST` (Hang et al., arXiv 2303.09556)."""
        product = self.objective.products[level]
        ratio = product / (1 - product).clamp_min(1e-6)
        return (1 + self.options.spread**2 * ratio).clamp_max(LARGEST).float()

    def _row(self, name: str, made: Draft, noise: dict[str, Tensor]) -> Tensor:
        """What a teammate at work is shown: the mask, a noisy channel, or a given one, hollow where it is to be made anew."""
        channel, _, side = name.rpartition(".")
        if channel == "mask":
            pixels = made.holes.repeat_interleave(self.base.factor, 2).repeat_interleave(self.base.factor, 3)
            return self._encoded(pixels.expand(-1, 3, -1, -1) * 2 - 1)
        if channel not in made.latents:
            return torch.zeros_like(next(iter(made.latents.values())))
        if side == "out":
            return self.objective.noised(made.latents[channel], noise[name], made.spread)
        hollow = made.at_work("mask.in") & made.at_work(f"{channel}.out") & (made.holes > 0)
        return torch.where(hollow, self.hollow, made.latents[channel])

    @torch.no_grad()
    def _encoded(self, pixels: Tensor) -> Tensor:
        return self.base.encode(pixels.to(self.base.device)).float()

    def _roles(self, has: set[str], random: np.random.Generator) -> set[str]:
        """The teammates at work on one picture with these channels; the hub is always one of them."""
        wanted = {n for n in self.channels if n in has and random.random() < self.options.wanted.get(n, 1.0)} | {self.hub}
        draw, holes = random.random(), self.options.holes if "mask.in" in self.teammates else 0.0  # without a mask all would be known
        if draw < holes:
            known = {n for n in wanted if n != self.hub or random.random() < HUB_KNOWN} or {self.hub}
            active = {f"{n}.out" for n in wanted} | {f"{n}.in" for n in known} | {"mask.in"}
        elif draw < holes + self.options.given:
            given = {n for n in self.channels if n in has and random.random() < GIVEN}
            active = {f"{n}.out" for n in wanted - given | {self.hub}} | {f"{n}.in" for n in given}
        else:
            active = {f"{n}.out" for n in wanted}
        return {name for name in active if name in self.teammates}

    def _answers(self, rows: Tensor, level: Tensor, prompts: Prompts | None = None) -> Tensor:
        return answers_of(self.base, rows, self.objective.timestep(level), prompts)

    def save(self, folder: Path) -> None:
        """The base in diffusers layout with its own first and last layer, and the wide ones beside it."""
        network, self.base.encode_prompts = self.base.network, self.words.said()
        with with_layers(network, conv_in=network.conv_in.hub, conv_out=self.narrow):
            save_base(self.base, folder)
        write_wide(folder / WIDE, network, {"teammates": ",".join(self.teammates), "hub": self.options.hub})
