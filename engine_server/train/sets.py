# SPDX-License-Identifier: GPL-3.0-or-later
"""The data sets of a run: of single pictures or of packs, as each folder holds them, and how often each is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .config import DataSet
from .latents import LatentCache
from .packed import pack_files
from .pool import PixelPool
from .samples import SampleSet

Samples = SampleSet | PixelPool


def sample_set(data: DataSet, cache: LatentCache, channels: set[str], outputs: set[str], smallest: int = 1) -> Samples:
    """A set of whichever kind its folder holds; see both classes for what is raised."""
    if pack_files(Path(data.folder)):
        return PixelPool(data, cache.base, channels, outputs, smallest)
    return SampleSet(data, cache, channels, outputs, smallest)


def shares(sets: Sequence[Samples]) -> np.ndarray:
    """How often each of the data sets is drawn, as its weight says; 1 in all."""
    weights = np.array([each.data.weight for each in sets])
    return weights / weights.sum()


def idle(teammates: Sequence[str], sets: Sequence[Samples]) -> list[str]:
    """The teammates that no data set which is ever drawn has anything for, so that they would learn nothing."""
    drawn = [each for each in sets if each.data.weight]
    offered = {f"{name}.in" for each in drawn for name in each.data.given or each.names if name in each.names}
    offered |= {f"{name}.out" for each in drawn for name in each.data.wanted or each.names if name in each.names}
    return [name for name in teammates if name not in offered]
