# SPDX-License-Identifier: GPL-3.0-or-later
"""Joint attention: all rows of one image attend to the tokens of all of them (the `_PLUSATTN` profiles).

Whatever a base does around its attention (projections, norms, rotary positions, text tokens) happens row by row; only
the softmax product itself sees other rows. So that product alone is caught, and its rows are folded into one sequence.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from .layers import Roster

JOINT_LAYERS = {
    "SD2": r"[^.]+\.[^.]+\.attentions\.\d+\.transformer_blocks\.\d+\.attn1",
    "SDXL": r"[^.]+\.[^.]+\.attentions\.\d+\.transformer_blocks\.\d+\.attn1",
    "SD3": r"transformer_blocks\.\d+\.attn",
    "FLUX": r"transformer_blocks\.\d+\.attn",
    "FLUX2": r"transformer_blocks\.\d+\.attn",
    "ZIMAGE": r"layers\.\d+\.attention",
}
"""Module paths of the attention layers that are joined."""


def fold(rows: torch.Tensor, active: int) -> torch.Tensor:
    """(A * I) x heads x L x d, teammate-major, to I x heads x (A * L) x d."""
    return rows.unflatten(0, (active, -1)).permute(1, 2, 0, 3, 4).flatten(2, 3)


def unfold(joined: torch.Tensor, active: int) -> torch.Tensor:
    """The inverse of `fold`."""
    return joined.unflatten(2, (active, -1)).permute(2, 0, 1, 3, 4).flatten(0, 1)


class Joined(TorchFunctionMode):
    """Within this mode every attention product runs over the tokens of all active rows of an image."""

    def __init__(self, active: int) -> None:
        super().__init__()
        self.active = active

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function is not scaled_dot_product_attention:
            return function(*args, **kwargs)
        named = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        folded = {name: fold(named.pop(name), self.active) for name in ("query", "key", "value")}
        return unfold(function(**folded, **named), self.active)


def joint_layers(network: nn.Module, family: str) -> list[str]:
    """Paths of the attention layers that joint attention is about."""
    return [name for name, _ in network.named_modules() if re.fullmatch(JOINT_LAYERS[family], name)]


def join_attention(network: nn.Module, family: str, roster: Roster) -> None:
    """Join the attention layers of a network."""
    for path in joint_layers(network, family):
        layer = network.get_submodule(path)
        layer.forward = _joined(layer.forward, roster)


def _joined(forward: Any, roster: Roster) -> Any:
    def joined_forward(*args: Any, **kwargs: Any) -> Any:
        if roster.active is None or len(roster.active) == 1:
            return forward(*args, **kwargs)
        with Joined(len(roster.active)):
            return forward(*args, **kwargs)

    return joined_forward


def separate_attention(network: nn.Module) -> None:
    """Undo `join_attention`: the classes' own `forward` is reached again."""
    for layer in network.modules():
        if getattr(layer.__dict__.get("forward"), "__name__", "") == "joined_forward":
            del layer.__dict__["forward"]
