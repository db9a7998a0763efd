# SPDX-License-Identifier: GPL-3.0-or-later
"""Scanned materials from a folder, as arrays that the generator cuts, turns and varies.

MATERIALS/<name>/basecolor.jpg (sRGB)  normal.jpg  roughness.jpg  [metallic.jpg]  [height.jpg]      (.png as well)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from ..evaluate.errors import DataError
from ..evaluate.pngs import read_bytes

NEEDED = ("basecolor", "normal", "roughness")
SUFFIXES = (".jpg", ".jpeg", ".png")
METAL_NOISE = 0.06  # what JPEG leaves of an exact 0 or 1 in a metalness map
# Below this correlation the mixed second derivatives of a normal map contradict each other: its green points down.
FLIPPED_CORRELATION = -0.1
# The seed of the split. It was chosen so that scans of one surface that are nearly alike fall on one side.
SPLIT_SALT = "a"


class MaterialError(DataError):
    """A folder of materials is not as expected; the message is one sentence that says what is."""


@dataclass(frozen=True)
class Maps:
    """A material's maps, H x W x C float32: base colour linear 0..1, unit normals (OpenGL), the others 0..1."""

    base_colour: np.ndarray  # H x W x 3
    normals: np.ndarray  # H x W x 3
    roughness: np.ndarray  # H x W x 1
    metalness: np.ndarray  # H x W x 1


def material_folders(folder: Path) -> list[Path]:
    """The materials of a folder in the order of their names. Raises MaterialError where there is none.

    One that a link gives a second name counts once, by its own name: else it could be held out by one and trained on by the other.
    """
    if not folder.is_dir():
        raise MaterialError(f"{folder} is not a folder; expected one with <material>/basecolor.jpg.")
    found = sorted(p for p in folder.iterdir() if p.is_dir() and all(_file(p, name) for name in NEEDED))
    if not found:
        raise MaterialError(
            f"{folder} holds no material; expected <material>/ with {', '.join(NEEDED)} as .jpg or .png."
        )
    once: dict[Path, Path] = {}
    for place in sorted(found, key=Path.is_symlink):  # folders before links to them
        once.setdefault(place.resolve(), place)
    return sorted(once.values())


def split_materials(folder: Path, share: float) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The materials to train on, and those that are held out. Raises MaterialError where there is none to train on."""
    folders = material_folders(folder)
    held = tuple(f for f in folders if is_for_validation(f.name, share))
    rest = tuple(f for f in folders if f not in held)
    if not rest:
        raise MaterialError(f"All materials of {folder} are held out at --validation {share}; lower it.")
    return rest, held


def is_for_validation(name: str, share: float) -> bool:
    """Whether a material is held out: a stable hash of its name is below `share` of the hash's range."""
    digest = hashlib.sha256(f"{SPLIT_SALT}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2.0**64


def _file(folder: Path, name: str) -> Path | None:
    return next((path for suffix in SUFFIXES if (path := folder / (name + suffix)).is_file()), None)


def _read(folder: Path, name: str, mode: str) -> np.ndarray | None:
    path = _file(folder, name)
    if path is None:
        return None
    try:
        return np.asarray(Image.fromarray(read_bytes(path)).convert(mode))
    except DataError as error:
        raise MaterialError(str(error)) from error


def srgb_to_linear(encoded: np.ndarray) -> np.ndarray:
    """The piecewise curve of IEC 61966-2-1, 0..1 to linear light."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


SRGB_TO_LINEAR = srgb_to_linear(np.arange(256) / 255.0)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors H x W x 3 at unit length; they never point below the surface."""
    up = np.concatenate([vectors[..., :2], np.maximum(vectors[..., 2:], 0.02)], axis=-1)
    return (up / np.linalg.norm(up, axis=-1, keepdims=True)).astype(np.float32)


def curl_correlation(normals: np.ndarray) -> float:
    """Correlation of the slopes' mixed derivatives, d(dz/dx)/dy with d(dz/dy)/dx: about 1 for OpenGL, -1 for DirectX.

    Both are the same second derivative of the surface's height, so they agree where the handedness is right. Noise
    and maps without relief bring it to 0.
    """
    x, y = (_smooth(-normals[..., axis] / np.maximum(normals[..., 2], 0.1)) for axis in (0, 1))
    along_y = np.roll(x, 1, axis=0) - np.roll(x, -1, axis=0)
    along_x = np.roll(y, -1, axis=1) - np.roll(y, 1, axis=1)
    spread = float(along_x.std() * along_y.std())
    return float(((along_x - along_x.mean()) * (along_y - along_y.mean())).mean() / spread) if spread > 1e-9 else 0.0


def _smooth(field: np.ndarray) -> np.ndarray:
    """A 5 x 5 binomial blur that wraps around: JPEG's blocks and 8 bits drown fine derivatives."""
    for axis in (0, 1):
        for _ in range(2):
            field = (np.roll(field, 1, axis) + 2.0 * field + np.roll(field, -1, axis)) / 4.0
    return field


def opengl_normals(encoded: np.ndarray, flipped: bool) -> np.ndarray:
    """8-bit normals to unit vectors; `flipped` says that green points down, as in a map made for DirectX."""
    decoded = encoded.astype(np.float32) / 127.5 - 1.0
    return unit(decoded * np.float32([1, -1 if flipped else 1, 1]))


def points_down(encoded: np.ndarray) -> bool:
    """Whether the green of an 8-bit normal map has to be flipped."""
    return curl_correlation(opengl_normals(encoded, False)) < FLIPPED_CORRELATION


def _metalness(stored: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if stored is None:
        return np.zeros((*shape[:2], 1), np.float32)
    values = stored[..., None] / np.float32(255.0)
    return np.clip((values - METAL_NOISE) / (1.0 - 2.0 * METAL_NOISE), 0.0, 1.0)


@dataclass(frozen=True)
class StoredMaps:
    """A material's pictures as bytes (a tenth of the memory of floats), all of one size, and their handedness."""

    colour: np.ndarray
    normal: np.ndarray
    roughness: np.ndarray
    metallic: np.ndarray | None
    flipped: bool

    def maps(self) -> Maps:
        """The maps as the generator works on them."""
        colour = SRGB_TO_LINEAR[self.colour]
        roughness = self.roughness[..., None] / np.float32(255.0)
        normals = opengl_normals(self.normal, self.flipped)
        return Maps(colour, normals, roughness, _metalness(self.metallic, colour.shape))


@lru_cache(maxsize=256)
def load_material(folder: Path) -> StoredMaps:
    """Read a material and keep it. Raises MaterialError for a broken picture or maps of different sizes."""
    colour, normal, roughness = (_read(folder, n, m) for n, m in zip(NEEDED, ("RGB", "RGB", "L"), strict=True))
    metallic = _read(folder, "metallic", "L")
    for name, stored in (("normal", normal), ("roughness", roughness), ("metallic", metallic)):
        if stored is not None and stored.shape[:2] != colour.shape[:2]:
            raise MaterialError(f"{folder / name} is not of the size of basecolor; scale one of them.")
    return StoredMaps(colour, normal, roughness, metallic, points_down(normal))
