# SPDX-License-Identifier: GPL-3.0-or-later
"""Where teammates stand in joint attention: some teams give each an offset on the first axis of the rotary positions.

A rotary embedding turns pairs of numbers of queries and keys by angles in proportion to the position, so a further
offset is a further turn, whatever the base did before (Su et al., arXiv 2104.09864).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

Tensor = torch.Tensor


def _after_prompt(network: nn.Module, args: tuple, kwargs: dict) -> slice:
    return slice(kwargs["encoder_hidden_states"].shape[1], None)


def _before_prompt(network: nn.Module, args: tuple, kwargs: dict) -> slice:
    height, width = args[0][0].shape[-2:]
    return slice(0, (height // kwargs["patch_size"]) * (width // kwargs["patch_size"]))


IMAGE_TOKENS: dict[str, Callable[[nn.Module, tuple, dict], slice]] = {
    "FLUX": _after_prompt,
    "FLUX2": _after_prompt,
    "ZIMAGE": _before_prompt,
}
"""For each base with rotary positions: which tokens of its attention are the image's, given the network's arguments."""


def turned(rows: Tensor, offsets: Tensor, theta: float, width: int, image: slice) -> Tensor:
    """Queries or keys with the image tokens of each row moved by its offset.

    rows: B x heads x L x d; offsets: B; the first `width` numbers of a head are pairs of the first position axis, pair
    i of which turns by theta^(-2i / width) for each unit.
    """
    powers = torch.arange(0, width, 2, device=rows.device, dtype=torch.float32) / width
    angles = offsets.to(rows.device)[:, None] * theta**-powers
    turn = torch.polar(torch.ones_like(angles), angles)[:, None, None]  # B x 1 x 1 x width/2
    pairs = rows[..., image, :width].float().unflatten(-1, (-1, 2)).contiguous()
    moved = rows.clone()
    moved[..., image, :width] = torch.view_as_real(torch.view_as_complex(pairs) * turn).flatten(-2).to(rows.dtype)
    return moved


@dataclass
class Offsets:
    """The offsets of a team on a network with rotary positions; watches the network for where its image tokens are."""

    of_teammates: tuple[int, ...]
    theta: float
    width: int
    image: slice = field(default_factory=lambda: slice(None))

    def of(self, active: tuple[int, ...]) -> tuple[int, ...]:
        """The offsets of active teammates."""
        return tuple(self.of_teammates[i] for i in active)

    def move(self, rows: Tensor, places: Tensor) -> Tensor:
        """Queries or keys (A * I) x heads x L x d, teammate-major, each row moved by its teammate's place (A numbers)."""
        offsets = places[:, None].expand(-1, rows.shape[0] // len(places)).flatten()
        return turned(rows, offsets, self.theta, self.width, self.image)


def watch(network: nn.Module, family: str, ids: tuple[int, ...]) -> Offsets | None:
    """The offsets of a team's `teammate_image_ids`; None where all are 0 or the base has no rotary positions."""
    if not any(ids) or family not in IMAGE_TOKENS:
        return None
    rotary: Any = network.rope_embedder if family == "ZIMAGE" else network.pos_embed
    axes = rotary.axes_dims if family == "ZIMAGE" else rotary.axes_dim
    offsets = Offsets(ids, float(rotary.theta), axes[0])

    def look(module: nn.Module, args: tuple, kwargs: dict) -> None:
        offsets.image = IMAGE_TOKENS[family](module, args, kwargs)

    network.image_tokens_hook = network.register_forward_pre_hook(look, with_kwargs=True)
    return offsets


def unwatch(network: nn.Module) -> None:
    """Undo `watch`."""
    hook = network.__dict__.pop("image_tokens_hook", None)
    if hook:
        hook.remove()
