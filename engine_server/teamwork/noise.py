# SPDX-License-Identifier: GPL-3.0-or-later
"""The noise that channels come out of: seeded by the channel's name, or given."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from .config import RequestError

Tensor = torch.Tensor


def seeded(name: str, seed: int) -> torch.Generator:
    """A random generator that depends on a name and the seed alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def seeded_noise(name: str, seed: int, shape: tuple[int, ...]) -> Tensor:
    """Unit Gaussian noise that depends on the channel's name and the seed alone.

    So a channel comes out of the same noise whatever else is requested beside it.
    """
    return torch.randn(shape, generator=seeded(name, seed))


def given_noise(
    given: Mapping[str, np.ndarray] | Sequence[Mapping[str, np.ndarray]], images: int
) -> list[Mapping[str, np.ndarray]]:
    """The given noise of each image, by the name of the channel. Raises `RequestError`.

    Of a list each image takes its own entry, of arrays that begin with an axis of images its own rows; all else is for all.
    """
    each = [given] * images if isinstance(given, Mapping) else list(given)
    if len(each) != images:
        raise RequestError(f"The noise of {len(each)} images was given for {images}; give one mapping for each, or one for all.")
    return [{n.removesuffix(".out"): _own(v, i, images) for n, v in entry.items()} for i, entry in enumerate(each)]


def _own(value: np.ndarray, image: int, images: int) -> np.ndarray:
    return value[image] if images > 1 and np.ndim(value) == 4 and len(value) == images else value


def starting_noise(
    names: list[str], seed: int, shape: tuple[int, ...], given: Mapping[str, np.ndarray], level: float = 1.0
) -> Tensor:
    """The noise of some channels, one row each: as given, or seeded and times `level`. Raises `RequestError`."""
    unknown = [name for name in given if name not in names]
    if unknown:
        raise RequestError(f"Noise was given for {unknown[0]!r}, which is not requested.")
    rows = [_given_noise(n, given[n], shape) if n in given else level * seeded_noise(n, seed, shape) for n in names]
    return torch.stack(rows)


def _given_noise(name: str, value: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    value = torch.as_tensor(np.asarray(value, dtype=np.float32))
    value = value[0] if value.ndim == 4 and value.shape[0] == 1 else value
    if value.shape != shape:
        raise RequestError(f"The noise for {name} has the shape {tuple(value.shape)}; expected {shape}.")
    return value
