# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a team of a base that reads pictures and its wide last layer: from the first moment it answers as the two did.

    python -m engine_server.train.graft --estimate runs/estimate --out runs/graft --given normals,albedo

The wide layer maps the features of a cell of the given picture's row to the answers of all wanted rows. That is what an adapter on the
last layer does: with the features themselves as hidden vector, the layer's parts as `up` of the wanted teammates, and nothing of the
base's own last layer. The other adapters start as those of any team, at nothing, and learn from there.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import torch

from ..diffusion.base import Base
from ..teamwork.checkpoint import save_checkpoint
from ..teamwork.config import TeamConfig
from ..teamwork.inject import adapters, attach, detach
from .base import save_base
from .errors import ConfigError
from .estimate import Teacher

LAST = "conv_out"
USUAL = r"up_blocks\.[12]\.resnets\.\d+\.(conv1|conv2|conv_shortcut)|down_blocks\.0\.resnets\.\d+\.conv[12]"
"""The layers of a UNet of three levels that see the finer two of them late, and the finest early."""


def grafted(teacher: Teacher, further: tuple[str, ...] = (), layers: str = USUAL, **facts: str) -> tuple[Base, TeamConfig]:
    """The teacher's base with a team on its last layer and on those that the regular expression `layers` matches.

    `further` are channels that the team shall learn to take as given, too; `facts` go into the checkpoint. Raises `ConfigError`
    if no layer matches.
    """
    base, given = teacher.base, dict.fromkeys((teacher.given, *further))
    teammates = (*(f"{name}.in" for name in given), *(f"{name}.out" for name in teacher.wanted))
    rank = teacher.head["weight"].shape[1]
    config = TeamConfig(teammates, rank=rank, base_model=str(base.name), profile=base.family, **facts)
    base.network.conv_out = silent(base)
    found = [name for name, _ in base.network.named_modules() if re.fullmatch(layers, name)]
    if not found:
        raise ConfigError(f"No layer of the base matches {layers}.")
    attach(base.network, [*found, LAST], config)
    _set_last(base, teacher, config)
    return base, config


def silent(base: Base) -> torch.nn.Conv2d:
    """A last layer that answers zero, whatever its row holds."""
    made = torch.nn.Conv2d(base.network.conv_out.in_channels, base.channels, 3, padding=1).to(base.device)
    torch.nn.init.zeros_(made.weight), torch.nn.init.zeros_(made.bias)
    return made


@torch.no_grad()
def _set_last(base: Base, teacher: Teacher, config: TeamConfig) -> None:
    adapter = adapters(base.network)[LAST]
    adapter.down.zero_(), adapter.up.zero_(), adapter.bias.zero_()
    adapter.down[config.teammates.index(f"{teacher.given}.in")] = torch.eye(config.rank)
    weights = teacher.head["weight"].flatten(1).unflatten(0, (len(teacher.wanted), -1))
    biases = teacher.head["bias"].unflatten(0, (len(teacher.wanted), -1))
    for name, weight, bias in zip(teacher.wanted, weights, biases, strict=True):
        row = config.teammates.index(f"{name}.out")
        adapter.up[row], adapter.bias[row] = weight.T, bias


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m engine_server.train.graft", description=__doc__.split("\n")[0])
    parser.add_argument("--estimate", type=Path, required=True, help="what the stage estimate left")
    parser.add_argument("--out", type=Path, required=True, help="for `base/` and `team.safetensors`")
    parser.add_argument("--given", default="", help="further channels that the team shall learn to take, comma separated")
    parser.add_argument("--layers", default=USUAL, help="a regular expression: which layers have adapters besides the last")
    parser.add_argument("--title", default="", help="the checkpoint's title")
    parser.add_argument("--resolution", default="", help='such as "256x256"')
    args = parser.parse_args()
    further = tuple(filter(None, args.given.split(",")))
    facts = {"title": args.title, "resolution": args.resolution}
    base, config = grafted(Teacher(args.estimate, "cpu"), further, args.layers, **facts)
    save_checkpoint(args.out / "team.safetensors", base.network, config, torch.float32)
    detach(base.network)
    save_base(base, args.out / "base")


if __name__ == "__main__":
    main()
