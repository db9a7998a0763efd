# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a grafted team apart again, so that the stage `estimate` can go on where it, or somebody else, stopped.

    python -m engine_server.train.ungraft --base engine_server/bundled/nano/scenes_base \
        --adapter engine_server/bundled/nano/scenes.safetensors --out runs/scenes_start

The folder is one that the stage takes as `base`: the network and, beside it, the wide layers that `graft` had made adapters of.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from ..diffusion.base import Base
from ..diffusion.loading import load_base
from ..teamwork.checkpoint import Checkpoint, read_checkpoint
from .base import save_base
from .errors import ConfigError, in_a_sentence, require_folder
from .graft import FIRST, LAST
from .wide import WIDE, save_wide

Tensor = torch.Tensor


def ungrafted(checkpoint: Checkpoint, features: int) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What `wide.read_wide` gives of a base with so many features in its first and last layer: facts, and float32 weights.

    Raises `ConfigError` for a team that has learnt since it was grafted: other layers or other hidden numbers do the work, too.
    """
    layers = {name: {part: t.float() for part, t in parts.items()} for name, parts in checkpoint.layers.items()}
    given, wanted = checkpoint.config.inputs, sorted(checkpoint.config.outputs)
    if not {LAST} <= set(layers) <= {FIRST, LAST} or not _passes(layers[LAST]["down"], features):
        raise ConfigError(f"{checkpoint.path} is not a team as `graft` leaves it, without adapters on other layers; it cannot be undone.")
    rows = [checkpoint.config.teammates.index(f"{name}.out") for name in wanted]
    last = layers[LAST]
    weights = {
        "weight": torch.cat([last["up"][row, :features].T for row in rows])[:, :, None, None].contiguous(),
        "bias": torch.cat([last["bias"][row] for row in rows]),
    }
    if FIRST in layers:
        down = layers[FIRST]["down"][: len(given), :, :features]
        weights["entry"] = down.permute(2, 0, 1).flatten(1)[:, :, None, None].contiguous()
    return {"given": ",".join(given), "wanted": ",".join(wanted)}, weights


def _passes(down: Tensor, features: int) -> bool:
    """Does the hub's row hand its features on as they are, and no other row anything?"""
    expected = torch.zeros_like(down)
    expected[0, :, :features] = torch.eye(*down.shape[1:])[:, :features]
    return down.shape[1] == features and torch.equal(down, expected)


def write(base: Base, checkpoint: Checkpoint, out: Path) -> None:
    """Leave base and wide layers in a folder, as the stage does."""
    if not hasattr(base.network, "conv_out"):
        raise ConfigError(f"The base {base.name} is no UNet, and so none that `graft` made a team of.")
    facts, weights = ungrafted(checkpoint, base.network.conv_out.in_channels)
    save_base(base, out)
    save_wide(out / WIDE, weights, facts)


def main(argv: list[str] | None = None) -> int:
    """The command line; a mistake is one sentence on the error stream and 2."""
    parser = argparse.ArgumentParser(prog="python -m engine_server.train.ungraft", description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=Path, required=True, help="the team's base, in diffusers layout")
    parser.add_argument("--adapter", type=Path, required=True, help="the grafted team")
    parser.add_argument("--out", type=Path, required=True, help="folder for a base that the stage estimate takes")
    args = parser.parse_args(argv)
    return in_a_sentence(lambda: _ungraft(args))


def _ungraft(args: argparse.Namespace) -> None:
    require_folder(args.base, "--base names the team's base, in diffusers layout")
    checkpoint = read_checkpoint(args.adapter)
    write(load_base(args.base), checkpoint, args.out)


if __name__ == "__main__":
    sys.exit(main())
