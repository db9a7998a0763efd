# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of what a team in training makes, beside the truth."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..teamwork.inject import adapters
from ..teamwork.team import Team
from .files import load_picture
from .precision import mixed_precision
from .samples import SampleSet

if TYPE_CHECKING:
    from .team import TeamStage


def forget(network: torch.nn.Module) -> None:
    """Drop what adapters keep of their parameters between runs without gradients; training has changed them."""
    for adapter in adapters(network).values():
        adapter.forget()


@torch.no_grad()
def show(stage: TeamStage) -> dict[str, np.ndarray]:
    """`{sample: H x W x 3 in 0..1}`: the first samples of the validation sets (or else of the training sets), each as a row of
    what is given, then of every wanted channel as made and as it is."""
    network, config = stage.base.network, stage.config
    forget(network)
    network.eval()
    team = Team(stage.base, stage.roster, zero_start=stage.options.zero_start)
    rows = {}
    for chosen, number in _chosen(stage.validation or stage.sets, config.samples):
        given, truth = _pictures(stage, chosen, number)
        with mixed_precision(config.precision, stage.base.device.type):
            size = next(iter({**given, **truth}.values())).shape
            made = team.run(given, list(truth), steps=config.sample_steps, height=size[0], width=size[1])
        parts = [*given.values(), *(picture for name in truth for picture in (made[name], truth[name]))]
        rows[_title(chosen.samples[number].folder, rows)] = np.concatenate(parts, axis=1)
    forget(network)
    network.train()
    return rows


def _title(folder: Path, taken: Collection[str]) -> str:
    """What a sample is called: as its folder, with the one that this is in, or a number, where another set has such a sample."""
    names = itertools.chain([folder.name, f"{folder.parent.name}/{folder.name}"], (f"{folder.name} {n}" for n in itertools.count(2)))
    return next(name for name in names if name not in taken)


def _chosen(sets: list[SampleSet], count: int) -> list[tuple[SampleSet, int]]:
    """The first samples, from the sets in turn."""
    longest = max(len(s.samples) for s in sets)
    return [(s, number) for number in range(longest) for s in sets if number < len(s.samples)][:count]


def _pictures(stage: TeamStage, chosen: SampleSet, number: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What is given and what is wanted of a sample, cut to its middle; a channel that could be both is wanted."""
    sample, data, team = chosen.samples[number], chosen.data, stage.team
    wanted = [n for n in sample.channels if n in (data.wanted or team.outputs) and n in team.outputs]
    given = [n for n in sample.channels if n in (data.given or team.inputs) and n in team.inputs and n not in wanted]
    side = max(crop for crop, _ in stage.sizes)
    load = lambda name: _middle(load_picture(sample.channels[name][0], name, data.side), side)  # noqa: E731
    return {name: load(name) for name in given}, {name: load(name) for name in wanted}


def _middle(picture: np.ndarray, side: int) -> np.ndarray:
    top, left = (max(0, n - side) // 2 for n in picture.shape[:2])
    return picture[top : top + side, left : left + side]
