# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a team of a base that reads pictures and its wide last layer: from the first moment it answers as the two did.

    python -m engine_server.train.graft --estimate runs/estimate --out runs/graft --given normals,albedo
    python -m engine_server.train.graft --unison runs/unison --out runs/create

The wide layer maps the features of a cell of the given picture's row to the answers of all wanted rows. That is what an adapter on the
last layer does: with the features themselves as hidden vector, the layer's parts as `up` of the wanted teammates, and nothing of the
base's own last layer. The other adapters start as those of any team, at nothing, and learn from there. What the stage `unison`
leaves has a wide first layer, too: its adapter hands the hub's row what all teammates' latents give.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import torch

from ..diffusion.base import Base
from ..diffusion.loading import load_base
from ..teamwork.checkpoint import save_checkpoint
from ..teamwork.config import TeamConfig
from ..teamwork.inject import adapters, attach, detach
from ..teamwork.layers import Adapter
from .base import save_base
from .errors import ConfigError, in_a_sentence
from .estimate import Teacher
from .wide import WIDE, read_wide

FIRST, LAST = "conv_in", "conv_out"
USUAL = r"up_blocks\.[12]\.resnets\.\d+\.(conv1|conv2|conv_shortcut)|down_blocks\.0\.resnets\.\d+\.conv[12]"
"""The layers of a UNet of three levels that see the finer two of them late, and the finest early."""


def grafted(teacher: Teacher, further: tuple[str, ...] = (), layers: str = USUAL, **facts: str) -> tuple[Base, TeamConfig]:
    """The teacher's base with a team on its last layer and on those that the regular expression `layers` matches.

    `further` are channels that the team shall learn to take as given, too; `layers` may be empty, for none. `facts` go into the
    checkpoint. Raises `ConfigError` if no layer matches.
    """
    base, given = teacher.base, dict.fromkeys((teacher.given, *teacher.others, *further))
    if "entry" in teacher.head:
        base.network.conv_in = base.network.conv_in.hub
    teammates = (*(f"{name}.in" for name in given), *(f"{name}.out" for name in teacher.wanted))
    try:
        found = [name for name, _ in base.network.named_modules() if re.fullmatch(layers, name)] if layers else []
    except re.error as error:
        raise ConfigError(f"{layers!r} is no regular expression for layers ({error}).") from error
    if layers and not found:
        raise ConfigError(f"No layer of the base matches {layers}.")
    return base, _team_of(base, teacher.head, teammates, 0, found, facts)


def grafted_unison(folder: Path, **facts: str) -> tuple[Base, TeamConfig]:
    """The base that the stage `unison` left in a folder, with a team on its first and last layer: the hub's row does the work.

    Raises `ConfigError` if the folder is not of that stage.
    """
    told, wide = read_wide(folder / WIDE) if (folder / WIDE).is_file() else ({}, {})
    if "hub" not in told:
        raise ConfigError(f"{folder} is not a result of the stage unison: it has no {WIDE} that names a hub.")
    teammates, base = tuple(told["teammates"].split(",")), load_base(folder)
    return base, _team_of(base, wide, teammates, teammates.index(told["hub"]), [], facts)


def _team_of(
    base: Base, wide: dict[str, torch.Tensor], teammates: tuple[str, ...], row: int, layers: list[str], facts: dict[str, str]
) -> TeamConfig:
    """A team whose first and last adapters are the `wide` layers, the work that row's; those of `layers` begin at nothing."""
    head = dict(wide)
    entry = head.pop("entry", None)
    rank = max(head["weight"].shape[1], 0 if entry is None else len(entry))
    config = TeamConfig(teammates, rank=rank, base_model=str(base.name), profile=base.family, **facts)
    base.network.conv_out = silent(base)
    attach(base.network, [*([] if entry is None else [FIRST]), *layers, LAST], config)
    if entry is not None:
        unheard = entry.new_zeros(len(entry), len(teammates) * base.channels - entry.shape[1], 1, 1)
        _set_first(base, torch.cat([entry, unheard], 1), row)
    _set_last(base, head, row, [name.removesuffix(".out") for name in teammates if name.endswith(".out")], config)
    return config


def silent(base: Base) -> torch.nn.Conv2d:
    """A last layer that answers zero, whatever its row holds."""
    made = torch.nn.Conv2d(base.network.conv_out.in_channels, base.channels, 3, padding=1).to(base.device)
    torch.nn.init.zeros_(made.weight), torch.nn.init.zeros_(made.bias)
    return made


def _emptied(base: Base, layer: str) -> Adapter:
    adapter = adapters(base.network)[layer]
    for parameter in adapter.parameters():
        torch.nn.init.zeros_(parameter)
    return adapter


@torch.no_grad()
def _set_first(base: Base, entry: torch.Tensor, hub: int) -> None:
    """Hidden numbers are what all latents give, features x (teammates C) x 1 x 1; the hub's row takes them as they are."""
    adapter = _emptied(base, FIRST)
    features = entry.shape[0]
    adapter.down[..., :features] = entry.flatten(1).unflatten(1, (len(adapter.down), -1)).permute(1, 2, 0)
    adapter.up[hub, :features] = torch.eye(features)


@torch.no_grad()
def _set_last(base: Base, head: dict[str, torch.Tensor], row: int, wanted: list[str], config: TeamConfig) -> None:
    """Hidden numbers are the features of the row that does the work; each wanted row takes its part of the wide layer of them."""
    adapter = _emptied(base, LAST)
    features = head["weight"].shape[1]
    adapter.down[row, :, :features] = torch.eye(features)
    weights = head["weight"].flatten(1).unflatten(0, (len(wanted), -1))
    biases = head["bias"].unflatten(0, (len(wanted), -1))
    for name, weight, bias in zip(wanted, weights, biases, strict=True):
        place = config.teammates.index(f"{name}.out")
        adapter.up[place, :features], adapter.bias[place] = weight.T, bias


def _of_estimate(args: argparse.Namespace, facts: dict[str, str]) -> tuple[Base, TeamConfig]:
    if not (args.estimate / WIDE).is_file():
        raise ConfigError(f"{args.estimate} is not a result of the stage estimate: it has no {WIDE}.")
    return grafted(Teacher(args.estimate, "cpu"), tuple(filter(None, args.given.split(","))), args.layers, **facts)


def main(argv: list[str] | None = None) -> int:
    """The command line; a mistake is one sentence on the error stream and 2."""
    parser = argparse.ArgumentParser(prog="python -m engine_server.train.graft", description=__doc__.split("\n")[0])
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--estimate", type=Path, help="what the stage estimate left")
    kind.add_argument("--unison", type=Path, help="what the stage unison left")
    parser.add_argument("--out", type=Path, required=True, help="for `base/` and `team.safetensors`")
    parser.add_argument("--given", default="", help="further channels that the team shall learn to take, comma separated")
    parser.add_argument("--layers", default=USUAL, help="a regular expression: which layers have adapters besides the last")
    parser.add_argument("--title", default="", help="the checkpoint's title")
    parser.add_argument("--resolution", default="", help='such as "256x256"')
    args = parser.parse_args(argv)
    return in_a_sentence(lambda: _graft(args))


def _graft(args: argparse.Namespace) -> None:
    facts = {"title": args.title, "resolution": args.resolution}
    base, config = grafted_unison(args.unison, **facts) if args.unison else _of_estimate(args, facts)
    save_checkpoint(args.out / "team.safetensors", base.network, config, torch.float32)
    detach(base.network)
    save_base(base, args.out / "base")


if __name__ == "__main__":
    sys.exit(main())
