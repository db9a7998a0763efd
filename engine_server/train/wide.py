# SPDX-License-Identifier: GPL-3.0-or-later
"""First and last layers for a base whose one row takes all given channels and answers all wanted ones.

They look at single cells, as the adapters of a team do: `graft` makes a team of base and layers that answers just the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..diffusion.base import Base
from ..teamwork.config import TeamConfig
from ..whole import whole_file
from .errors import ConfigError

Tensor = torch.Tensor
WIDE = "wide.safetensors"


def check_teammates(names: Sequence[str]) -> None:
    """Raises `TeamError` for teammates that no team can have: `graft` would say so when all the training is done."""
    TeamConfig(tuple(names), rank=1, profile="SD2")


class WideEntry(nn.Module):
    """A first layer for the latents of several teammates, side by side: B x (teammates C) x h x w to B x features x h x w."""

    def __init__(self, hub: nn.Conv2d, count: int, place: int) -> None:
        """`hub` is the base's own first layer; `place` the hub's among the `count` teammates."""
        super().__init__()
        self.hub, self.place = hub, place
        self.all = nn.Conv2d(count * hub.in_channels, hub.out_channels, 1, bias=False)
        nn.init.normal_(self.all.weight, std=0.02)

    def forward(self, rows: Tensor) -> Tensor:
        """The sum of what the hub's latents give by its own layer, and what all give by theirs."""
        own = rows.unflatten(1, (-1, self.hub.in_channels))[:, self.place]
        return self.hub(own) + self.all(rows)


def with_entry(base: Base, count: int, place: int) -> None:
    """Put a fresh wide first layer onto a base, around its own."""
    base.network.conv_in = WideEntry(base.network.conv_in, count, place).to(base.device)


def widened(base: Base, count: int, stage: str = "estimate") -> nn.Conv2d:
    """A last layer that answers `count` pictures at once. Raises `ConfigError` for a base that has no such convolution."""
    last = getattr(base.network, "conv_out", None)
    if not isinstance(last, nn.Conv2d):
        raise ConfigError(f"The stage {stage} needs a UNet; {base.name} has no last convolution that could be widened.")
    return nn.Conv2d(last.in_channels, count * last.out_channels, 1).to(last.weight.device)


@contextlib.contextmanager
def with_layers(network: nn.Module, **layers: nn.Module) -> Iterator[None]:
    """A network with other layers in the places of its own, for a while."""
    own = {name: getattr(network, name) for name in layers}
    try:
        for name, layer in layers.items():
            setattr(network, name, layer)
        yield
    finally:
        for name, layer in own.items():
            setattr(network, name, layer)


def read_wide(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What a file says of its wide layers, and their weights: the last one's, and the first one's as "entry" if it has one.

    Raises `ConfigError` for a file that is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ConfigError(f"{path} is not a whole safetensors file ({error}); let the stage write it again.") from error


def write_wide(path: Path, network: nn.Module, facts: Mapping[str, str]) -> None:
    """The wide layers of a network, and what they are for."""
    wide = {name: value.contiguous() for name, value in network.conv_out.state_dict().items()}
    if isinstance(network.conv_in, WideEntry):
        wide["entry"] = network.conv_in.all.weight.detach().contiguous()
    save_wide(path, wide, facts)


def save_wide(path: Path, weights: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """What `read_wide` reads again."""
    with whole_file(path) as partial:
        save_file(dict(weights), partial, metadata=dict(facts))


def take_wide(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give a network's wide layers what `read_wide` has read."""
    if "entry" in weights:
        network.conv_in.all.load_state_dict({"weight": weights.pop("entry")})
    network.conv_out.load_state_dict(weights)
