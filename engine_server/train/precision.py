# SPDX-License-Identifier: GPL-3.0-or-later
"""The precision in which networks run while something trains."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextlib.contextmanager
def mixed_precision(precision: str, device: str = "cpu") -> Iterator[None]:
    """Within this block matrix products are taken in `precision`, if it is not float32; `device` is a kind, cpu or cuda."""
    if precision == "float32":
        yield
        return
    with torch.autocast(device, dtype=getattr(torch, precision)), short_attention(precision, device):
        yield


@contextlib.contextmanager
def short_attention(precision: str, device: str = "cpu") -> Iterator[None]:
    """Take attention by plain matrix products on a CPU in a coarser precision than float32.

    PyTorch's fused kernel is many times slower there on the short sequences of small pictures. A backward pass that
    computes parts again (gradient checkpointing) has to stand within the same block.
    """
    if precision == "float32" or device != "cpu":
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield
