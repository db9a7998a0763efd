# SPDX-License-Identifier: GPL-3.0-or-later
"""A data set's files: folders of channel pictures, any subset of the channels in each, looked through before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..evaluate.errors import DataError
from ..evaluate.pngs import read, size_of
from ..evaluate.samples import resized, visible
from ..teamwork.config import RequestError
from ..teamwork.pictures import as_picture
from .config import DataSet
from .errors import ConfigError

SUFFIXES = (".png", ".jpg", ".jpeg", ".npy")


@dataclass(frozen=True)
class Sample:
    """One folder: the files of each channel (several may stand for one), and what weighs its pixels, if anything."""

    folder: Path
    channels: dict[str, tuple[Path, ...]]
    mask: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [*(f for files in self.channels.values() for f in files), *([self.mask] if self.mask else [])]


def find_samples(data: DataSet, channels: Iterable[str], smallest: int = 1) -> list[Sample]:
    """The samples of a set, by name, with those of `channels` that they have.

    A channel that `rename` maps files to takes no file of its own name. Raises `ConfigError` for a folder that holds
    none, and naming the file that cannot be read, is a link to nothing, differs in size from others of its sample, or is
    smaller than `smallest` pixels on a side. Other links are followed.
    """
    root, channels = Path(data.folder), set(channels)
    if not root.is_dir():
        raise ConfigError(f"The data folder {root} is not there.")
    _check_names(data, channels)
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    samples = [sample for folder in folders if (sample := _sample(folder, data, channels)).channels]
    samples = samples[: data.limit or None]
    if not samples:
        wanted = f" of {', '.join(sorted(channels))}" if channels else "; each sample is a folder of its pictures"
        raise ConfigError(f"The data folder {root} holds no <sample>/<channel>.png{wanted}.")
    if data.mask and not any(sample.mask for sample in samples):
        raise ConfigError(f"No sample of {root} has the mask {data.mask}.png; name the file that they have, or leave mask out.")
    for sample in samples:
        _check_sizes(sample, data, smallest)
    return samples


def _entries(folder: Path) -> list[Path]:
    try:
        return visible(folder)
    except DataError as error:
        raise ConfigError(str(error)) from error


def _check_names(data: DataSet, channels: set[str]) -> None:
    for key, names in (("given", data.given), ("wanted", data.wanted), ("rename", data.rename.values())):
        for name in names:
            if name not in channels:
                known = ", ".join(sorted(channels))
                raise ConfigError(f"The data set {data.folder}: {key} names {name!r}, which the team has not; it has {known}.")


def _sample(folder: Path, data: DataSet, channels: set[str]) -> Sample:
    taken = set(data.rename.values())
    found: dict[str, list[Path]] = {}
    mask = None
    for path in (entry for entry in _entries(folder) if entry.suffix.lower() in SUFFIXES):
        if data.mask and path.stem == data.mask:
            mask = path
            continue
        channel = data.rename.get(path.stem, "" if path.stem in taken else path.stem)
        if channel in channels:
            found.setdefault(channel, []).append(path)
    return Sample(folder, {channel: tuple(found[channel]) for channel in sorted(found)}, mask)


def _check_sizes(sample: Sample, data: DataSet, smallest: int) -> None:
    first, *others = sample.files
    expected = file_size(first)
    for path in others:
        if (size := file_size(path)) != expected:
            raise ConfigError(
                f"{path} is {size[0]} x {size[1]} pixels, but {first.name} beside it is {expected[0]} x {expected[1]}; "
                "all pictures of a sample must have one size."
            )
    if min(after(expected, data.side)) < smallest:
        raise ConfigError(
            f"{first} is {expected[0]} x {expected[1]} pixels{' before it is reduced' if data.side else ''}, too small for "
            f"crops of {smallest}; lower crop, or leave the sample out."
        )


def after(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height after the shorter one is reduced to `side` (0: never)."""
    if not side or min(size) <= side:
        return size
    return tuple(max(side, round(n * side / min(size))) for n in size)


def file_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, from its header. Raises `ConfigError` naming a file that is no picture."""
    try:
        if path.suffix.lower() == ".npy":
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            return (shape[1], shape[0]) if len(shape) in (2, 3) else _no_picture(path, f"its shape is {shape}")
        return size_of(path)
    except DataError as error:
        if path.is_file():
            return _no_picture(path, str(error.__cause__))
        raise ConfigError(str(error)) from error
    except (ValueError, OSError, EOFError) as error:
        return _no_picture(path, str(error))


def _no_picture(path: Path, reason: str) -> tuple[int, int]:
    raise ConfigError(f"{path} is not a readable picture ({reason}); expected PNG, JPEG, or an H x W x 3 array in .npy.")


def load_picture(path: Path, channel: str, side: int = 0) -> np.ndarray:
    """One picture in the model's encoding, H x W x 3 float32 in 0..1 (`halfway` as it is), reduced as its channel wants it.

    Colour is averaged in linear light, normals as vectors. Raises `ConfigError` for a file that cannot be read.
    """
    try:
        values = np.load(path, allow_pickle=False) if path.suffix.lower() == ".npy" else read(path)
        values = as_picture(channel, values.astype(np.float32) if values.dtype == np.float64 else values)
    except DataError as error:
        raise ConfigError(str(error)) from error
    except (RequestError, ValueError, OSError, EOFError) as error:
        raise ConfigError(f"{path} cannot be read ({error}).") from error
    width, height = after((values.shape[1], values.shape[0]), side)
    return values if values.shape[:2] == (height, width) else resized(values, channel, (width, height))
