# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter that sits on one frozen layer, and the roster that tells all adapters who is active."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import nn

from .config import TeamConfig
from .coordination import blocks, coordinate, coordinate_pixels

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]


class Follower(Protocol):
    """A part of a team on a network that works for the active teammates."""

    def turn_to(self, active: tuple[int, ...] | None) -> None:
        """Work for these teammates from now on, or, for None, not at all."""


class Roster:
    """Which teammates the rows of the current forward pass belong to; tells all `followers`: adapters and joint attention.

    `active` holds indices into the team's teammates, ascending. None means that no team is at work and that the base
    answers alone.
    """

    def __init__(self, config: TeamConfig) -> None:
        self.config = config
        self.active: tuple[int, ...] | None = None
        self.followers: list[Follower] = []

    @contextmanager
    def working(self, active: tuple[int, ...]) -> Iterator[None]:
        """Within this block the rows are those of the `active` teammates.

        All that depends on who is active is done here, once a run; what is left for a forward pass are tensors and their
        shapes, so that it compiles to one graph for each shape.
        """
        before = self.active
        self.turn_to(active)
        try:
            yield
        finally:
            self.turn_to(before)

    def turn_to(self, active: tuple[int, ...] | None) -> None:
        """Have the rows be those of the `active` teammates from now on: what comes after a forward pass may need it, too."""
        self.active = active
        for follower in self.followers:
            follower.turn_to(active)


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
        self.communication = config.communication
        self.at_work = False
        self._roster = [roster]  # in a list, so that nn.Module neither copies nor registers it
        self._selected: Tensors | None = None
        self._selected_for: tuple = ()
        roster.followers.append(self)

    @property
    def roster(self) -> Roster:
        """Who is at work."""
        return self._roster[0]

    def turn_to(self, active: tuple[int, ...] | None) -> None:
        """Work for these teammates from now on, or, for None, not at all.

        Without gradients their parameters are gathered and kept until others are active or the parameters change.
        """
        self.at_work = active is not None
        if self.at_work and torch.is_grad_enabled():
            self.forget()
        elif self.at_work:
            self._keep(active)

    def _keep(self, active: tuple[int, ...]) -> None:
        tensors = (self.down, self.up, self.bias)
        state = (active, self.down.device, *(t._version for t in tensors if t is not None))
        if self._selected is None or self._selected_for != state:
            self._selected, self._selected_for = self._gathered(active), state

    def _gathered(self, active: tuple[int, ...]) -> Tensors:
        tensors = (self.down, self.up, self.bias)
        if len(active) == len(self.down):
            return tensors
        return tuple(None if t is None else t[list(active)] for t in tensors)

    def chosen(self) -> Tensors:
        """`down`, `up` and `bias` of the active teammates; the parameters themselves when all are active."""
        if torch.is_grad_enabled() or self._selected is None:
            return self._gathered(self.roster.active)
        if self._selected[0].device != self.down.device:  # the network was moved here for this very pass
            self._keep(self.roster.active)
        return self._selected

    def forget(self) -> None:
        """Drop the kept selection (after parameters changed behind PyTorch's back, through `.data`)."""
        self._selected = None

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The base layer's output `y` for its input `x`, with the team's update."""
        down, up, bias = self.chosen()
        if y.ndim == 4:
            return coordinate_pixels(y, x, down, up, bias, self.communication)
        count = down.shape[0]
        return coordinate(blocks(y, count), blocks(x, count), down, up, bias, self.communication).view(y.shape)


def adapt(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor | None:
    """Forward hook of an adapted layer. The base module itself is left as it is, whatever its weights are made of."""
    adapter: Adapter = module.adapter
    if not adapter.at_work:
        return None
    x = args[0]
    return adapter(x if torch.is_autocast_enabled(x.device.type) else x.to(adapter.down.dtype), output)
