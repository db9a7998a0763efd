# SPDX-License-Identifier: GPL-3.0-or-later
"""The mean of the weights of two runs, of which one went on where the other stopped: it keeps more of what the first could.

    python -m engine_server.train.mean --before runs/scenes --after runs/scenes_further --share 0.6 --out runs/scenes_mean

The folder is as a stage leaves it: what `graft` takes, or another run as its `base`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..whole import whole_file
from .errors import ConfigError, in_a_sentence

Tensors = dict[str, torch.Tensor]
OF_THE_RUN = ("state*", "latents*", "log.jsonl", "tensorboard", "samples*")
"""What only the run itself needs."""


def write_mean(before: Path, after: Path, share: float, out: Path) -> None:
    """`share` of the weights after and the rest of those before, tensor by tensor in float32, with all else from after.

    Raises `ConfigError` for a share beyond 0..1, folders that are not there, a network of another kind, or an `out` that exists.
    """
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"share is {share}; expected 0 (only the weights before) to 1 (only those after).")
    if out.exists():
        raise ConfigError(f"{out} is there already; choose another folder, or remove it.")
    means = {file: _mean(before / file, after / file, share) for file in _files(after)}
    shutil.copytree(after, out, ignore=shutil.ignore_patterns(*OF_THE_RUN))
    for file, (tensors, facts) in means.items():
        with whole_file(out / file) as partial:
            save_file(tensors, partial, metadata=facts)


def _files(folder: Path) -> list[Path]:
    """The weights in a run's folder, relative to it."""
    left_out = {path for pattern in OF_THE_RUN for path in folder.glob(pattern)}
    found = sorted(path for path in folder.rglob("*.safetensors") if not left_out & {path, *path.parents})
    if not found:
        raise ConfigError(f"{folder} holds no weights; expected the folder of a run that has ended.")
    return [path.relative_to(folder) for path in found]


def _mean(before: Path, after: Path, share: float) -> tuple[Tensors, dict[str, str]]:
    first, second = _read(before), _read(after)
    if {name: t.shape for name, t in first.items()} != {name: t.shape for name, t in second.items()}:
        raise ConfigError(f"{before} and {after} are of different networks; a mean needs two runs of one.")
    with safe_open(after, "pt") as file:
        facts = file.metadata() or {}
    return {name: torch.lerp(first[name].float(), second[name].float(), share) for name in second}, facts


def _read(path: Path) -> Tensors:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); expected the weights of a run that has ended.") from error


def main(argv: list[str] | None = None) -> int:
    """The command line; 2 after a sentence on what to mend."""
    parser = argparse.ArgumentParser(prog="python -m engine_server.train.mean", description=__doc__.split("\n")[0])
    parser.add_argument("--before", type=Path, required=True, help="the run that the other one went on from")
    parser.add_argument("--after", type=Path, required=True, help="the run that went on")
    parser.add_argument("--share", type=float, required=True, help="how much of the weights after: 0 to 1")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    args = parser.parse_args(argv)
    return in_a_sentence(lambda: write_mean(args.before, args.after, args.share, args.out))


if __name__ == "__main__":
    sys.exit(main())
