# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts adapters onto a frozen network and takes them off again."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import nn

from .attention import join_attention, joint_layers, separate_attention
from .config import ADAPTED_LAYERS, TeamConfig, TeamError, shown
from .idle import let_rest, wake
from .layers import Adapter, Roster, adapt


def layer_shape(layer: nn.Module, path: str) -> tuple[int, int]:
    """Input and output width of a linear or convolution layer; raises `TeamError` naming any other kind."""
    if hasattr(layer, "in_features"):
        return layer.in_features, layer.out_features
    if isinstance(layer, nn.Conv2d) and _keeps_size(layer):
        return layer.in_channels, layer.out_channels
    if isinstance(layer, nn.Conv2d):
        raise TeamError(f"The convolution {path} changes the size of its input; only those that keep it can be adapted.")
    raise TeamError(f"The layer {path} is a {type(layer).__name__}; only linear and convolution layers can be adapted.")


def _layer(network: nn.Module, path: str) -> nn.Module:
    try:
        return network.get_submodule(path)
    except AttributeError:
        raise TeamError(f"{type(network).__name__} has no layer {shown(path)[1:-1]}.") from None


def _keeps_size(layer: nn.Conv2d) -> bool:
    sides = zip(layer.kernel_size, layer.dilation, strict=True)
    half = tuple(dilation * (kernel - 1) / 2 for kernel, dilation in sides)
    return layer.stride == (1, 1) and (layer.padding == "same" or layer.padding == half)


def adapter_shapes(network: nn.Module, path: str, config: TeamConfig) -> dict[str, tuple[int, ...]]:
    """What an adapter of a team on that layer consists of. Raises `TeamError` naming a path that the network does not have."""
    layer = _layer(network, path)
    (d_in, d_out), count, rank = layer_shape(layer, path), len(config.teammates), config.rank
    shapes = {"down": (count, d_in, rank), "up": (count, rank, d_out)}
    return shapes | ({"bias": (count, d_out)} if layer.bias is not None and config.use_bias else {})


def profile_layers(network: nn.Module, profile: str) -> list[str]:
    """Module paths that a new team of this profile adapts; raises `TeamError` for an entry that matches no layer."""
    names = [name for name, _ in network.named_modules()]
    found: list[str] = []
    for pattern in ADAPTED_LAYERS[profile]:
        matches = [name for name in names if re.fullmatch(pattern, name)]
        if not matches:
            entry = pattern.replace("\\.", ".").replace("[^.]+", "*").replace("\\d+", "*")
            raise TeamError(
                f"The entry {entry} of the profile {profile} fits no layer of {type(network).__name__}: is this another base?"
            )
        found += matches
    return found


def attach(
    network: nn.Module,
    paths: Iterable[str],
    config: TeamConfig,
    dtype: torch.dtype = torch.float32,
    joined: Iterable[str] = (),
    device: torch.device | str | None = None,
) -> Roster:
    """Freeze the network and put a fresh adapter on each layer of `paths`, there or on another `device`.

    A team with joint attention has it on the layers `joined`; if none is named, on those that its profile is about.
    Raises `TeamError` naming a path that the network does not have.
    """
    network.requires_grad_(False)
    roster = Roster(config)
    for path in paths:
        layer = _layer(network, path)
        width = layer_shape(layer, path)
        where = device or next(layer.parameters()).device
        layer.adapter = Adapter(roster, *width, layer.bias is not None, dtype=dtype, device=where)
        layer.adapter_hook = layer.register_forward_hook(adapt)
    if config.joint_attention:
        join_attention(network, tuple(joined) or joint_layers(network, config.family), roster)
    else:
        let_rest(network, roster)
    return roster


def adapters(network: nn.Module) -> dict[str, Adapter]:
    """All adapters of a network by the path of the layer they sit on."""
    return {n.removesuffix(".adapter"): m for n, m in network.named_modules() if isinstance(m, Adapter)}


def detach(network: nn.Module) -> None:
    """Take all adapters off; the network is the bare base again."""
    separate_attention(network)
    wake(network)
    for path in adapters(network):
        layer = network.get_submodule(path)
        layer.adapter_hook.remove()
        del layer.adapter, layer.adapter_hook
