# SPDX-License-Identifier: GPL-3.0-or-later
"""The light of a sample: flashes beside the camera, panoramas of a folder, procedural skies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from .generate_panoramas import read_panorama
from .render import Flash
from .render_environment import LightTables, disc_of_environment, light_tables

Random = np.random.Generator


def random_flash(random: Random) -> Flash:
    """A phone's or a camera's flash: near the lens, small."""
    fov = float(np.clip(random.normal(42.0, 12.0), 18.0, 75.0))
    reach = 0.0 if random.random() < 0.5 else 0.06
    offset = tuple(float(x) for x in random.normal(0.0, reach, 3) * (1.0, 1.0, 0.5))
    return Flash(fov, offset, float(random.choice([0.0, 0.02, 0.05, 0.12])))


def _lobe(directions: np.ndarray, towards: np.ndarray, width: float) -> np.ndarray:
    """A soft disc around a direction, 1 inside `width` radians."""
    angle = np.arccos(np.clip(directions @ towards, -1.0, 1.0))
    return 1.0 / (1.0 + np.exp((angle - width) / (0.15 * width)))


def _any_direction(random: Random, lowest: float = 0.0) -> np.ndarray:
    z, phi = random.uniform(lowest, 1.0), random.uniform(0.0, 2.0 * np.pi)
    return np.array([np.sqrt(1.0 - z * z) * np.cos(phi), np.sqrt(1.0 - z * z) * np.sin(phi), z])


def procedural_sky(random: Random, height: int = 192) -> torch.Tensor:
    """A gradient from horizon to zenith with a sun or up to five soft lamps, 3 x height x 2 height."""
    latitude = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    longitude = -((np.arange(2 * height) + 0.5) / height - 1.0) * np.pi
    flat = np.cos(latitude)[:, None]
    directions = np.stack(
        [flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)[:, None] + 0.0 * longitude], axis=-1
    )
    zenith, horizon = (np.exp(random.normal(0.0, [0.25, 0.1, 0.25])) * random.uniform(0.1, 1.0) for _ in range(2))
    rise = np.clip(directions[..., 2:], 0.0, 1.0) ** random.uniform(0.3, 1.0)
    sky = horizon + (zenith - horizon) * rise
    for _ in range(random.integers(1, 6)):
        width = np.exp(random.uniform(np.log(0.04), np.log(0.5)))
        colour = np.exp(random.normal(0.0, [0.15, 0.05, 0.2])) * random.uniform(0.3, 4.0) * 0.1 / width**2
        sky = sky + _lobe(directions, _any_direction(random), width)[..., None] * colour
    return torch.from_numpy(sky.astype(np.float32)).permute(2, 0, 1).contiguous()


def random_rotation(random: Random) -> torch.Tensor:
    """The plane's directions to the world's, 3 x 3: lying on the ground mostly, else a wall or tilted; any heading."""
    heading, roll = random.uniform(0.0, 2.0 * np.pi, 2)
    kind = random.random()
    tilt = 0.0 if kind < 0.6 else np.pi / 2.0 if kind < 0.8 else random.uniform(0.0, np.pi / 2.0)
    lean = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    return torch.tensor(_turn(heading) @ lean @ _turn(roll), dtype=torch.float32)


def _turn(angle: float) -> np.ndarray:
    """The rotation about z."""
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


@dataclass(frozen=True)
class LightPool:
    """Environments that samples draw from: the `index`th is always the same for one seed.

    Each is a panorama or a sky seen from a random plane, brought to a white level of 1 (the plane's own exposure
    varies later) with a part of its colour cast taken away, as a camera's white balance would.
    """

    files: tuple[Path, ...]
    seed: int
    size: int = 96
    sky_share: float = 0.25

    def tables(self, index: int) -> LightTables:
        """The `index`th environment."""
        return _tables(self, index % self.size)

    def draw(self, random: Random) -> LightTables:
        """Any of them."""
        return self.tables(int(random.integers(self.size)))


@lru_cache(maxsize=8)
def _panorama(path: Path) -> torch.Tensor:
    """A panorama as the renderer takes it, 3 x h x w."""
    return torch.from_numpy(read_panorama(path)).permute(2, 0, 1).contiguous()


@lru_cache(maxsize=256)
def _tables(pool: LightPool, index: int) -> LightTables:
    random = np.random.default_rng([pool.seed, 7, index])
    sky = not pool.files or random.random() < pool.sky_share
    image = procedural_sky(random) if sky else _panorama(pool.files[random.integers(len(pool.files))])
    tables = light_tables(disc_of_environment(image, random_rotation(random)))
    white = tables.white().clamp_min(1e-6)
    cast = (white / white.mean()) ** float(random.uniform(0.3, 1.0))
    return tables.scaled(1.0 / (white.mean() * cast))
