# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of pictures to samples, checked before a network runs.

A sample is a folder with at least one photo (flash.png, env.png or image.png) and at least one map. A data folder is one
sample, a folder of samples, or nested deeper, with links to folders as with folders. All pictures of a sample have the
same size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..channels import CHANNELS, DISPLAY, NORMALS, normalise
from . import pngs
from .errors import DataError

PHOTOS = ("flash", "env", "image")
MAPS = (
    *("albedo", "diffuse", "specular", "roughness", "metalness", "normals", "height", "depth"),
    *("shading", "diffuseshading", "inverseshading", "residual"),
)
OTHER_SUFFIXES = (".png", ".jpg", ".jpeg", ".npy", ".exr", ".tif", ".tiff", ".webp")
EXPECTED = (
    "expected folders that hold flash.png, env.png or image.png beside albedo.png, normals.png, roughness.png, "
    "metalness.png (any of them; values 0..1, normals OpenGL)"
)


@dataclass(frozen=True)
class Sample:
    """One folder: its photos and the true maps, by name without .png. `name` is its path below the data folder.

    `noisy` is the render of few rays beside a clean image.png, from which shading is judged.
    """

    name: str
    photos: dict[str, Path]
    maps: dict[str, Path]
    noisy: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (*self.photos.values(), *self.maps.values(), *([self.noisy] if self.noisy else []))


@dataclass(frozen=True)
class Case:
    """One photo of a sample with the sample's true maps, all H x W x 3 float32 in 0..1 as stored."""

    name: str
    kind: str  # which photo: flash, env or image
    photo: np.ndarray
    truth: dict[str, np.ndarray]


def find_samples(folder: Path) -> list[Sample]:
    """All samples in and below `folder`, sorted by name. Raises DataError where there are none or one is unfit."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; {EXPECTED}.")
    samples = [_sample(folder, place) for place in _places(folder)]
    usable = [sample for sample in samples if sample.maps]
    if not usable:
        raise DataError(_nothing(folder, samples))
    for sample in usable:
        _check_sizes(sample)
    return usable


def check_whole(samples: Sequence[Sample]) -> None:
    """Raise `DataError` for a file that is cut short: it would end a long evaluation when its turn comes."""
    for path in (path for sample in samples for path in sample.files):
        pngs.check(path)


def _places(folder: Path) -> Iterator[Path]:
    """Folders with a photo, by name."""
    for place, entries in _folders(folder):
        if any(entry.suffix == ".png" and entry.stem in PHOTOS for entry in entries):
            yield place


def _folders(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[tuple[Path, list[Path]]]:
    """A folder and all below with what is in each. Links are followed, but not back into a folder that they are in."""
    real = folder.resolve()
    if real in above:
        return
    entries = visible(folder)
    yield folder, entries
    for entry in entries:
        if entry.is_dir():
            yield from _folders(entry, above | {real})


def left_out(folder: Path) -> list[str]:
    """Notes on pictures that are not read: not called .png, or not like a photo or map; maps without photos, photos without maps."""
    words, walked = {*PHOTOS, *MAPS, "noisy"}, list(_folders(folder))
    found = [e for _, entries in walked for e in entries if e.stem in words and e.suffix != ".png" and e.is_file()]
    others = [e for e in found if e.suffix.lower() in OTHER_SUFFIXES and not e.with_suffix(".png").exists()]
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    notes = [f"only .png is read: {others[0].relative_to(folder)}{more} left out"] if others else []
    return notes + _misnamed(walked, words) + _lonely([_sample(folder, place) for place, _ in walked])


def _misnamed(walked: list[tuple[Path, list[Path]]], words: set[str]) -> list[str]:
    beside = [entries for _, entries in walked if any(e.stem in PHOTOS and e.suffix == ".png" for e in entries)]
    stems = {e.stem for entries in beside for e in entries if e.suffix.lower() in OTHER_SUFFIXES and e.is_file()} - words
    return [f"called neither like a photo nor like a map: {_first(sorted(stems))} left out"] if stems else []


def _lonely(found: list[Sample]) -> list[str]:
    kinds = {
        "photos without true maps": [sample.name for sample in found if sample.photos and not sample.maps],
        "maps without a photo": [sample.name for sample in found if sample.maps and not sample.photos],
    }
    return [f"{title}: {_first(names)} left out" for title, names in kinds.items() if names]


def _first(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def visible(folder: Path) -> list[Path]:
    """What is in a folder, by name. Raises DataError for a link whose target is gone: its sample would be missed in silence."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        if entry.is_symlink() and not entry.exists():
            raise DataError(f"{entry} is a link to {entry.readlink()}, which is not there: mend the link, or delete it.")
    return entries


def _sample(root: Path, place: Path) -> Sample:
    name = place.relative_to(root).as_posix() if place != root else place.resolve().name
    photos, maps = (
        {word: place / f"{word}.png" for word in words if (place / f"{word}.png").is_file()} for words in (PHOTOS, MAPS)
    )
    noisy = place / "noisy.png"
    return Sample(name, photos, maps, noisy if noisy.is_file() and "image" in photos else None)


def _nothing(folder: Path, without_maps: list[Sample]) -> str:
    if without_maps:
        return f"{folder} holds photos ({without_maps[0].name}) but no true maps beside them; {EXPECTED}."
    if not any(folder.iterdir()):
        return f"{folder} is empty; {EXPECTED}."
    return f"{folder} holds no sample; {EXPECTED}."


def _check_sizes(sample: Sample) -> None:
    """A true map of another size cannot be compared pixel by pixel, and a guess which way to crop would be wrong."""
    sizes = {path: pngs.size_of(path) for path in sample.files}
    (first, expected), *others = sizes.items()
    for path, size in others:
        if size != expected:
            raise DataError(
                f"The sizes of sample {sample.name} do not fit: {path.name} is {size[0]} x {size[1]} pixels, "
                f"{first.name} is {expected[0]} x {expected[1]}; expected one size for all its pictures."
            )


def case_keys(samples: list[Sample]) -> list[tuple[Sample, str]]:
    """Every photo of every sample, as (sample, kind of photo)."""
    return [(sample, kind) for sample in samples for kind in sample.photos]


def load_case(sample: Sample, kind: str, size: int) -> Case:
    """The pictures of one photo. The longer side is reduced to `size` if larger (0: never). Raises DataError."""
    photo = reduce(pngs.read(sample.photos[kind]), "image", size)
    truth = {name: reduce(pngs.read(path), name, size) for name, path in sample.maps.items()}
    return Case(f"{sample.name}/{kind}", kind, photo, truth)


def reduce(values: np.ndarray, name: str, size: int) -> np.ndarray:
    """Model-encoded H x W x 3, its longer side at most `size`: colour averaged in linear light, normals as vectors."""
    height, width = values.shape[:2]
    if size <= 0 or max(height, width) <= size:
        return values
    scale = size / max(height, width)
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return resized(values, name, target)


def resized(values: np.ndarray, name: str, target: tuple[int, int]) -> np.ndarray:
    """Model-encoded H x W x 3 of a channel, or of any other picture, to (width, height).

    Colour is averaged in linear light, normals as vectors, which are brought to unit length again: a mean of several is shorter.
    """
    encoding = CHANNELS[name].encoding if name in CHANNELS else None
    if encoding not in (DISPLAY, NORMALS):
        return resize(values, target)
    mean = resize(encoding.decode(values), target)
    return encoding.encode(normalise(mean) if encoding is NORMALS else mean).astype(np.float32)


def resize(values: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    """Area average of H x W x 3 float32 to (width, height)."""
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(target, Image.Resampling.BOX)
        for plane in np.moveaxis(values, -1, 0)
    ]
    return np.stack([np.asarray(plane, np.float32) for plane in planes], axis=-1)
