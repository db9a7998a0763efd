# SPDX-License-Identifier: GPL-3.0-or-later
"""Smaller checkpoints of a trained team: a lower rank, and factors in eight bits."""

from __future__ import annotations

import dataclasses

import torch

from .checkpoint import EIGHT_BITS, Checkpoint
from .config import TeamError

Layer = dict[str, torch.Tensor]
TINY = 1e-12


def cut_rank(checkpoint: Checkpoint, rank: int) -> Checkpoint:
    """The nearest team of a lower rank: of each layer the largest parts of what all its teammates together do.

    The rows of all teammates side by side are one matrix, `down` of all times `up` of all; its singular value decomposition, cut, gives
    both again. Raises `TeamError` for a rank that is not lower, and for a team without communication, whose teammates have one each.
    """
    if not checkpoint.config.communication:
        raise TeamError("Without communication each teammate has a hidden vector of its own; its rank cannot be cut for all together.")
    if not 1 <= rank <= checkpoint.config.rank:
        raise TeamError(f"The rank {rank} is not one that {checkpoint.path} can be cut to; it has {checkpoint.config.rank}.")
    layers = {name: layer | _cut(layer["down"].float(), layer["up"].float(), rank) for name, layer in checkpoint.layers.items()}
    return dataclasses.replace(checkpoint, layers=layers, config=dataclasses.replace(checkpoint.config, rank=rank))


def _cut(down: torch.Tensor, up: torch.Tensor, rank: int) -> Layer:
    count, _, _ = down.shape
    tall, wide = torch.linalg.qr(down.flatten(0, 1)), torch.linalg.qr(up.transpose(1, 2).flatten(0, 1))
    left, values, right = torch.linalg.svd(tall.R @ wide.R.T)
    root = values[:rank].sqrt()
    new_down = tall.Q @ left[:, :rank] * root
    new_up = wide.Q @ right[:rank].T * root
    return {
        "down": new_down.unflatten(0, (count, -1)).contiguous(),
        "up": new_up.unflatten(0, (count, -1)).transpose(1, 2).contiguous(),
    }


def in_eight_bits(checkpoint: Checkpoint) -> Checkpoint:
    """The same team with `down` and `up` rounded to eight bits; biases stay.

    Only their product counts, so both factors of each hidden number are brought to one range first: of numbers that differ in size eight
    bits would lose the small ones.
    """
    layers = {name: layer | _rounded(layer["down"].float(), layer["up"].float()) for name, layer in checkpoint.layers.items()}
    return dataclasses.replace(checkpoint, layers=layers)


def _rounded(down: torch.Tensor, up: torch.Tensor) -> Layer:
    scale = (up.abs().amax((0, 2)).clamp_min(TINY) / down.abs().amax((0, 1)).clamp_min(TINY)).sqrt()
    return {"down": (down * scale).to(EIGHT_BITS), "up": (up / scale[:, None]).to(EIGHT_BITS)}
