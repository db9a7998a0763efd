# SPDX-License-Identifier: GPL-3.0-or-later
"""Leaves out rows of a UNet that nobody reads: a team whose adapters are on the first and the last layer alone may need only some.

Between those two layers rows do not meet. So where the base's last layer answers nothing by itself, and the last adapter reads the
features of some teammates only (its `down` is zero for the others), the rows of all others are computed for nothing. A grafted team
(`train/graft.py`) works so: one row answers for all, and with four maps wanted of a photo takes a fifth of the time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .layers import Adapter, Roster

FIRST, LAST = "conv_in", "conv_out"
CONDITIONS = ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type")
"""What a UNet may be told for each row besides its prompt; such ones compute all rows."""

Tensor = torch.Tensor


def could_rest(network: nn.Module) -> bool:
    """Whether it is a UNet with adapters on no other layers than the first and the last, with one on the last."""
    on = {name.removesuffix(".adapter") for name, module in network.named_modules() if isinstance(module, Adapter)}
    config = getattr(network, "config", None)
    plain = all(getattr(config, name, None) is None for name in CONDITIONS)
    return LAST in on and on <= {FIRST, LAST} and plain and hasattr(network, "time_embedding")


class IdleRows:
    """The rows of one network that rest in a run without gradients; follows the roster, as adapters do."""

    def __init__(self, network: nn.Module, roster: Roster) -> None:
        self.network, self.active, self.kept = network, 0, ()
        self.rows, self.whole = 0, torch.empty(0)
        self.hooks = (
            network.register_forward_pre_hook(self._begin, with_kwargs=True),
            network.time_embedding.register_forward_hook(self._chosen),
            network.conv_in.register_forward_hook(self._chosen),
            network.conv_out.register_forward_pre_hook(self._filled),
        )
        roster.followers.append(self)

    def remove(self) -> None:
        """Compute all rows from now on."""
        for hook in self.hooks:
            hook.remove()

    def turn_to(self, active: tuple[int, ...] | None) -> None:
        """Find out which rows of these teammates are read."""
        self.active, self.kept = len(active or ()), ()
        if active and not torch.is_grad_enabled() and not self.network.conv_out.weight.any():
            read = self.network.conv_out.adapter.down.flatten(1).any(1).tolist()
            self.kept = tuple(place for place, teammate in enumerate(active) if read[teammate])

    def _resting(self) -> bool:
        return 0 < len(self.kept) < self.active and not torch.is_grad_enabled()

    def _begin(self, network: nn.Module, args: tuple, told: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
        if not self._resting():
            return None
        self.rows = len(args[0])
        self.whole = torch.arange(self.rows).unflatten(0, (self.active, -1))[list(self.kept)].flatten()
        prompts = told["encoder_hidden_states"]
        return args, told | {"encoder_hidden_states": prompts[self.whole.to(prompts.device)]}

    def _chosen(self, layer: nn.Module, args: tuple, output: Tensor) -> Tensor | None:
        return output[self.whole.to(output.device)] if self._resting() else None

    def _filled(self, layer: nn.Module, args: tuple) -> tuple | None:
        if not self._resting():
            return None
        features = args[0].new_zeros(self.rows, *args[0].shape[1:])
        features[self.whole.to(features.device)] = args[0]
        return (features,)


def let_rest(network: nn.Module, roster: Roster) -> None:
    """Have rows of this team rest that nobody reads, if its adapters are where that can be."""
    if could_rest(network):
        network.idle_rows = IdleRows(network, roster)


def wake(network: nn.Module) -> None:
    """Undo `let_rest`."""
    if idle := vars(network).pop("idle_rows", None):
        idle.remove()
