# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples packed many to a file, as a GPU wants them: it takes more pictures in a second than can be read one by one.

    python -m engine_server.train.packed --data data/scenes/train --out data/scenes_packed

makes packs of a folder of samples; `engine_server.train.generate --packed N` writes its samples so from the start. A pack is a
safetensors file: for each channel N x C x H x W uint8 in the model's encoding, C = 3, or 1 where all components are one. Its metadata may
hold words for each sample, and all words that samples of its kind can have (`generate_surfaces` writes them). A training
data set whose folder holds packs is drawn from on the device of the training, and takes up packs that are written while it runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..whole import whole_file
from .errors import ConfigError, in_a_sentence
from .generate_camera import to_bytes

Tensor = torch.Tensor
SUFFIX = ".safetensors"
EACH = 32
WORDS, VOCABULARY = "words", "vocabulary"


def pack_files(folder: Path, known: Collection[Path] = ()) -> list[Path]:
    """The packs of a folder, by name, but for those that are known; encoded pictures that are kept there are none."""
    found = folder.glob(f"*{SUFFIX}") if folder.is_dir() else ()
    return sorted(path for path in found if path not in known and not _holds_latents(path))


def _holds_latents(path: Path) -> bool:
    """Whether a file is of `LatentCache`, which tells in its metadata what it holds; one that cannot be read is a pack that is broken."""
    try:
        with safe_open(path, "pt") as file:
            return "facts" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def as_rows(picture: np.ndarray) -> Tensor:
    """H x W or H x W x C uint8 as C x H x W; C is 1 where all components are the same."""
    rows = torch.from_numpy(np.atleast_3d(picture).transpose(2, 0, 1).copy())
    return rows[:1] if bool((rows == rows[:1]).all()) else rows


def write_pack(
    path: Path, samples: Sequence[dict[str, np.ndarray]], words: Sequence[str] = (), vocabulary: Sequence[str] = ()
) -> None:
    """Write samples of one size and with the same channels, each `{channel: uint8 pixels}`; the file appears whole or not at all.

    `words` are a text for each sample, if they have any, and `vocabulary` all words that there may be in such texts.
    """
    packed = {}
    for name in samples[0]:
        rows = [as_rows(sample[name]) for sample in samples]
        widest = max(len(row) for row in rows)
        packed[name] = torch.stack([row.expand(widest, -1, -1) for row in rows])
    with whole_file(path) as partial:
        save_file(packed, partial, metadata={WORDS: json.dumps(list(words)), VOCABULARY: json.dumps(list(vocabulary))} if words else None)


def missing_packs(out: Path, numbers: Sequence[int], each: int) -> Iterator[tuple[Path, Sequence[int]]]:
    """The packs of `each` samples of these numbers that are not there yet, with the numbers of their samples."""
    for start in range(0, len(numbers), each):
        path = out / f"{numbers[start]:08d}{SUFFIX}"
        if not path.exists():
            yield path, numbers[start : start + each]


def read_words(path: Path) -> tuple[list[str], list[str]]:
    """A text for each sample of a pack, and all words that there may be; both empty for a pack without words."""
    with safe_open(path, "pt") as file:
        told = file.metadata() or {}
    return json.loads(told.get(WORDS, "[]")), json.loads(told.get(VOCABULARY, "[]"))


def read_pack(path: Path, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """`{channel: N x C x H x W uint8}`. Raises `ConfigError` naming a file that is no pack."""
    try:
        pack = load_file(path, str(device))
    except (SafetensorError, OSError, ValueError) as error:
        raise ConfigError(f"{path} is no pack of samples ({error}).") from error
    shapes = {(len(rows), *rows.shape[2:]) for rows in pack.values() if rows.ndim == 4 and rows.dtype == torch.uint8}
    if len(shapes) != 1 or any(rows.ndim != 4 or rows.dtype != torch.uint8 for rows in pack.values()):
        raise ConfigError(f"{path} is no pack of samples: expected N x C x H x W of bytes, N, H and W the same for all channels.")
    return pack


def pack_folder(data: Path, out: Path, each: int = EACH) -> int:
    """Packs of `each` samples of a folder of <sample>/<channel>, PNG, JPEG or .npy; gives how many samples there are.

    Raises `ConfigError` for a folder without samples, with samples that differ in their channels or sizes, or with `halfway`.
    """
    from .config import DataSet
    from .files import SUFFIXES, find_samples, load_picture

    if each < 1:
        raise ConfigError(f"A pack of {each} samples cannot be; give 1 or more.")
    names = {path.stem for path in data.glob("*/*") if path.suffix.lower() in SUFFIXES}
    if "halfway" in names:
        raise ConfigError(f"{data} holds halfway, which exceeds 0..1 and cannot be stored in bytes; take it out, or train on the folder.")
    samples = find_samples(DataSet(str(data)), names)
    told = {tuple(sample.channels) for sample in samples}
    if len(told) != 1:
        raise ConfigError(f"The samples of {data} differ in their channels; pack those with the same ones apart.")
    for first in range(0, len(samples), each):
        chosen = [{n: to_bytes(load_picture(f[0], n)) for n, f in s.channels.items()} for s in samples[first : first + each]]
        if len({picture.shape for sample in chosen for picture in sample.values()}) != 1:
            raise ConfigError(f"The samples of {data} differ in their sizes; pack those of one size apart.")
        write_pack(out / f"{first:06d}{SUFFIX}", chosen)
    return len(samples)


def main(argv: list[str] | None = None) -> int:
    """The command line; a folder that does not fit is one sentence on the error stream and 2."""
    parser = argparse.ArgumentParser(prog="python -m engine_server.train.packed", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of <sample>/<channel>.png, .jpg or .npy")
    parser.add_argument("--out", type=Path, required=True, help="folder for the packs")
    parser.add_argument("--each", type=int, default=EACH, help=f"samples in a pack ({EACH})")
    args = parser.parse_args(argv)
    return in_a_sentence(lambda: print(f"{pack_folder(args.data, args.out, args.each)} samples packed into {args.out}"))


if __name__ == "__main__":
    sys.exit(main())
