# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain images for the VAE and the base: every picture below some folders, as augmented random crops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ..evaluate.errors import DataError
from ..evaluate.pngs import read_bytes
from .config import ConfigError, DataSet

SUFFIXES = {".png", ".jpg", ".jpeg"}


def load_pictures(sets: tuple[DataSet, ...]) -> tuple[list[np.ndarray], np.ndarray]:
    """All pictures of all sets as H x W x 3 uint8, and the probability with which each is drawn.

    Raises `ConfigError` naming a folder without pictures, or a picture that cannot be read.
    """
    pictures: list[np.ndarray] = []
    weights: list[float] = []
    for data in sets:
        files = pictures_below(Path(data.folder))
        if not files:
            raise ConfigError(f"The data folder {data.folder} holds no PNG or JPEG picture.")
        pictures += [_loaded(path) for path in files]
        weights += [data.weight / len(files)] * len(files)
    return pictures, np.array(weights) / sum(weights)


def _loaded(path: Path) -> np.ndarray:
    try:
        return read_bytes(path)
    except DataError as error:
        raise ConfigError(str(error)) from error


def pictures_below(folder: Path) -> list[Path]:
    """All pictures in a folder and below, by name, but for hidden ones. Links are followed, but not back into a folder that they are in."""

    def found(place: Path, above: frozenset[Path]) -> Iterator[Path]:
        if (real := place.resolve()) in above or not place.is_dir():
            return
        for entry in (entry for entry in place.iterdir() if not entry.name.startswith(".")):
            if entry.is_dir():
                yield from found(entry, above | {real})
            elif entry.suffix.lower() in SUFFIXES:
                yield entry

    return sorted(found(folder, frozenset()))


class CropSource:
    """Draws batches of B x 3 x S x S in -1..1: a random scale, place, flip and, for a share of them, another colouring.

    The recolouring (channel order, gamma, gain) makes few pictures stand for many. Much of it costs the exactness of
    channels whose colours have a meaning, as those of normals.
    """

    def __init__(self, sets: tuple[DataSet, ...], size: int, seed: int, recolour: float = 0.5) -> None:
        self.size, self.recolour = size, recolour
        self.random = np.random.default_rng(seed)
        self.pictures, self.weights = load_pictures(sets)

    def batch(self, count: int) -> torch.Tensor:
        """`count` crops."""
        chosen = self.random.choice(len(self.pictures), count, p=self.weights)
        return torch.stack([self._recolour(self._crop(self.pictures[i])) for i in chosen])

    def _crop(self, picture: np.ndarray) -> torch.Tensor:
        largest = min(picture.shape[:2]) // self.size
        scale = int(self.random.integers(1, min(largest, 4) + 1)) if largest > 1 else 1
        span = self.size * scale
        y, x = (int(self.random.integers(0, max(1, s - span + 1))) for s in picture.shape[:2])
        crop = torch.from_numpy(picture[y : y + span, x : x + span].copy()).permute(2, 0, 1).float() / 127.5 - 1
        crop = torch.nn.functional.interpolate(crop[None], (self.size, self.size), mode="area")[0]
        flips = [axis for axis in (1, 2) if self.random.random() < 0.5]
        crop = crop.flip(flips) if flips else crop
        return crop.transpose(1, 2) if self.random.random() < 0.5 else crop

    def _recolour(self, crop: torch.Tensor) -> torch.Tensor:
        if self.random.random() >= self.recolour:
            return crop
        crop = crop[torch.from_numpy(self.random.permutation(3))]
        gamma, gain = 2.0 ** self.random.uniform(-0.8, 0.8), self.random.uniform(0.5, 1.2)
        return (((crop + 1) / 2).clamp(0, 1) ** gamma * gain).clamp(0, 1) * 2 - 1
