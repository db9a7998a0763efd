# SPDX-License-Identifier: GPL-3.0-or-later
"""The precision in which networks run while something trains."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextlib.contextmanager
def mixed_precision(precision: str) -> Iterator[None]:
    """Within this block matrix products are taken in `precision`, if it is not float32.

    On a CPU, attention is then taken by plain matrix products: PyTorch's fused kernel is many times slower there on the
    short sequences of small pictures.
    """
    if precision == "float32":
        yield
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    attention = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else contextlib.nullcontext()
    with torch.autocast(device, dtype=getattr(torch, precision)), attention:
        yield
