# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter that sits on one frozen layer, and the roster that tells all adapters who is active."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from .config import TeamConfig
from .coordination import blocks, coordinate, coordinate_pixels


class Roster:
    """Which teammates the rows of the current forward pass belong to; shared by all adapters of a team.

    `active` holds indices into the team's teammates, ascending. None means that no team is at work and that the base
    answers alone.
    """

    def __init__(self, config: TeamConfig) -> None:
        self.config = config
        self.active: tuple[int, ...] | None = None

    @contextmanager
    def working(self, active: tuple[int, ...]) -> Iterator[None]:
        """Within this block the rows are those of the `active` teammates."""
        before, self.active = self.active, active
        try:
            yield
        finally:
            self.active = before


class Adapter(nn.Module):
    """The trainable part on one layer: `down` T x d_in x r, `up` T x r x d_out, and perhaps `bias` T x d_out.

    Starts as nothing (down ~ N(0, 0.02), up = bias = 0), so that an untrained team equals its base.
    """

    def __init__(self, roster: Roster, d_in: int, d_out: int, has_bias: bool, **factory) -> None:
        super().__init__()
        config = roster.config
        count, rank = len(config.teammates), config.rank
        self.down = nn.Parameter(torch.empty(count, d_in, rank, **factory).normal_(0, 0.02))
        self.up = nn.Parameter(torch.zeros(count, rank, d_out, **factory))
        self.bias = nn.Parameter(torch.zeros(count, d_out, **factory)) if has_bias and config.use_bias else None
        self._roster = [roster]  # in a list, so that nn.Module neither copies nor registers it
        self._chosen: tuple[tuple[int, ...], tuple] | None = None

    @property
    def roster(self) -> Roster:
        """Who is at work."""
        return self._roster[0]

    def chosen(self) -> tuple:
        """`down`, `up` and `bias` of the active teammates; the parameters themselves when all are active.

        Without gradients the selection is kept until the roster changes, so that it is gathered once a run.
        """
        active = self.roster.active
        tensors = (self.down, self.up, self.bias)
        if len(active) == self.down.shape[0]:
            return tensors
        if torch.is_grad_enabled():
            return _select(tensors, active)
        if self._chosen is None or self._chosen[0] != active:
            self._chosen = (active, _select(tensors, active))
        return self._chosen[1]

    def forget(self) -> None:
        """Drop the kept selection (after the parameters changed)."""
        self._chosen = None

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The base layer's output `y` for its input `x`, with the team's update."""
        down, up, bias = self.chosen()
        communication = self.roster.config.communication
        if y.ndim == 4:
            return coordinate_pixels(y, x, down, up, bias, communication)
        count = down.shape[0]
        return coordinate(blocks(y, count), blocks(x, count), down, up, bias, communication).view(y.shape)


def _select(tensors: tuple, active: tuple[int, ...]) -> tuple:
    return tuple(None if t is None else t[list(active)] for t in tensors)


def adapt(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor | None:
    """Forward hook of an adapted layer. The base module itself is left as it is, whatever its weights are made of."""
    adapter: Adapter = module.adapter
    if adapter.roster.active is None:
        return None
    x = args[0]
    return adapter(x if torch.is_autocast_enabled(x.device.type) else x.to(adapter.down.dtype), output)
