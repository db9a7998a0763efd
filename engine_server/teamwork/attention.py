# SPDX-License-Identifier: GPL-3.0-or-later
"""Joint attention: all rows of one image attend to the tokens of all of them (the `_PLUSATTN` profiles).

Whatever a base does around its attention (projections, norms, rotary positions, text tokens) happens row by row; only
the softmax product itself sees other rows. So that product alone is caught, and its rows are folded into one sequence.
Two entries of newer checkpoints refine it: `attn_allow`, who may attend to whom, and `teammate_image_ids`, where each
stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from .config import TeamError, shown
from .layers import Roster
from .positions import Offsets, unwatch, watch

Tensor = torch.Tensor
JOINT_LAYERS = {
    "SD2": r"[^.]+\.[^.]+\.attentions\.\d+\.transformer_blocks\.\d+\.attn1",
    "SDXL": r"[^.]+\.[^.]+\.attentions\.\d+\.transformer_blocks\.\d+\.attn1",
    "SD3": r"transformer_blocks\.\d+\.attn",
    "FLUX": r"transformer_blocks\.\d+\.attn",
    "FLUX2": r"transformer_blocks\.\d+\.attn",
    "ZIMAGE": r"layers\.\d+\.attention",
}
"""Module paths of the attention layers that are joined."""


Groups = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
"""Who attends to whom: (places of active teammates, places of those whose tokens they see)."""


@lru_cache
def groups(allow: tuple[str, ...], active: tuple[int, ...]) -> Groups:
    """Active teammates that may attend to the same others, together; without rules all to all.

    `allow[i][j]` is "1" if teammate i may attend to teammate j. One who may attend to nobody present attends to itself.
    """
    sees: dict[tuple[int, ...], list[int]] = {}
    for place, one in enumerate(active):
        others = tuple(i for i, other in enumerate(active) if not allow or allow[one][other] == "1")
        sees.setdefault(others or (place,), []).append(place)
    return tuple((tuple(queries), keys) for keys, queries in sees.items())


def fold(rows: Tensor, active: int, chosen: tuple[int, ...] | None = None) -> Tensor:
    """(A * I) x heads x L x d, teammate-major, to I x heads x (C * L) x d: the tokens of the C chosen, or of all."""
    split = torch.unflatten(rows, 0, (active, -1))
    split = split if chosen is None or len(chosen) == active else split[list(chosen)]
    return split.permute(1, 2, 0, 3, 4).flatten(2, 3)


def unfold(joined: Tensor, active: int) -> Tensor:
    """The inverse of `fold`."""
    return torch.unflatten(joined, 2, (active, -1)).permute(2, 0, 1, 3, 4).flatten(0, 1)


def joint_attention(query: Tensor, key: Tensor, value: Tensor, together: Groups, **options: Any) -> Tensor:
    """Attention of (A * I) x heads x L x d rows over the tokens of those rows of their image that they may see.

    The same as one product under a mask, without the mask and without what it would throw away. An `attn_mask` of a base's
    own says which keys of each row are there (rows x 1 x 1 x L); it is folded as they are.
    """
    mask = options.pop("attn_mask", None)
    active = sum(len(queries) for queries, _ in together)
    made: dict[int, Tensor] = {}
    for queries, keys in together:
        q, k, v = (fold(r, active, who) for r, who in ((query, queries), (key, keys), (value, keys)))
        there = None if mask is None else fold(mask.transpose(-1, -2), active, keys).transpose(-1, -2)
        rows = unfold(scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=there, **options), len(queries))
        if len(together) == 1:
            return rows
        made |= zip(queries, rows.chunk(len(queries)), strict=True)
    return torch.cat([made[place] for place in range(active)])


class Joined(TorchFunctionMode):
    """Within this mode every attention product runs over the tokens of all rows of an image that may see each other."""

    def __init__(self, together: Groups, move: Callable[[Tensor], Tensor] | None = None) -> None:
        """`move` changes the positions of queries and of keys."""
        super().__init__()
        self.together, self.move = together, move or (lambda rows: rows)
        self.inside = False

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function is Tensor.unflatten:  # the method cannot be compiled within a function mode; the function can
            function = torch.unflatten
        if function is not scaled_dot_product_attention or self.inside:
            return function(*args, **kwargs)
        named = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        query, key = self.move(named.pop("query")), self.move(named.pop("key"))
        self.inside = True  # a compiler that gives up halfway would let the product below come here again
        rows = joint_attention(query, key, named.pop("value"), self.together, **named)
        self.inside = False
        return rows


def joint_layers(network: nn.Module, family: str) -> list[str]:
    """Paths of the attention layers that a joint profile is about."""
    return [name for name, _ in network.named_modules() if re.fullmatch(JOINT_LAYERS[family], name)]


def join_attention(network: nn.Module, paths: Iterable[str], roster: Roster) -> None:
    """Join the attention layers of a network; raises `TeamError` naming one that it does not have."""
    config, modules = roster.config, dict(network.named_modules())
    meeting = Meeting(config.attn_allow, watch(network, config.family, config.teammate_image_ids))
    roster.followers.append(meeting)
    for path in paths:
        if path not in modules:
            raise TeamError(f"{type(network).__name__} has no layer {shown(path)[1:-1]}.")
        modules[path].forward = _joined(modules[path].forward, meeting)


class Meeting:
    """Who meets in joint attention now (`together`; None where there is nothing to join), and where they stand (`places`)."""

    def __init__(self, allow: tuple[str, ...], offsets: Offsets | None) -> None:
        self.allow, self.offsets = allow, offsets
        self.together: Groups | None = None
        self.places: Tensor | None = None

    def turn_to(self, active: tuple[int, ...] | None) -> None:
        """Join these teammates from now on, or, for None, nobody."""
        moved = bool(active and self.offsets and any(self.offsets.of(active)))
        self.places = torch.tensor(self.offsets.of(active), dtype=torch.float32) if moved else None
        alone = active is None or (len(active) == 1 and not moved)
        self.together = None if alone else groups(self.allow, active)


def _joined(forward: Any, meeting: Meeting) -> Any:
    def joined_forward(*args: Any, **kwargs: Any) -> Any:
        if meeting.together is None:
            return forward(*args, **kwargs)
        move = None if meeting.places is None else partial(meeting.offsets.move, places=meeting.places)
        with Joined(meeting.together, move):
            return forward(*args, **kwargs)

    return joined_forward


def joined_layers(network: nn.Module) -> list[str]:
    """Paths of the layers that are joined now."""
    forwards = {name: m.__dict__.get("forward") for name, m in network.named_modules()}
    return [name for name, forward in forwards.items() if getattr(forward, "__name__", "") == "joined_forward"]


def separate_attention(network: nn.Module) -> None:
    """Undo `join_attention`: the classes' own `forward` is reached again."""
    unwatch(network)
    for path in joined_layers(network):
        del network.get_submodule(path).__dict__["forward"]
