# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is random about a batch follows from the run's seed and the batch's number, on one process as on many."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Seeds:
    """The random streams of one batch: NumPy's for choices, torch's (on the CPU, whatever the device) for noise."""

    choices: np.random.Generator
    noise: torch.Generator


def seeds(seed: int, number: int, stream: int = 0) -> Seeds:
    """The streams of a batch; `stream` tells apart what shall not share numbers (0 training, 1 validation)."""
    choices = np.random.default_rng([seed, stream, number])
    return Seeds(choices, torch.Generator().manual_seed(int(choices.integers(2**62))))


def on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """A generator for a device: the same one on the CPU, else one whose seed it gives, for noise too large to be brought there."""
    if device.type == "cpu":
        return generator
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, (1,), generator=generator)))


def seed_everything(seed: int, number: int) -> None:
    """Set Python's, NumPy's and torch's own generators, which a network may draw from (dropout), for one batch."""
    value = int(np.random.default_rng([seed, 2, number]).integers(2**32))
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
