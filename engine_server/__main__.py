# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server COMMAND`; `--help` lists the commands."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from . import __version__
from .commands import COMMANDS
from .logs import quiet_packages


OWN = ("engine_server", "blender_addon")
TRAIN = ("accelerate", "prodigyopt", "tensorboard", "tqdm", "torchmetrics")
"""What only the extra `train` brings."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; returns its exit code, 2 after a sentence where a package is not there."""
    try:
        return _main(sys.argv[1:] if arguments is None else list(arguments))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in OWN:
            raise
        extras = "engine,train" if package in TRAIN else "engine"
        sentence = "install it with `pip install '.[{}]'` in a checkout, or use the Python in its .venv that scripts/demo.py makes"
        print(f"The package {package} is not there for {sys.executable}: {sentence.format(extras)}.", file=sys.stderr)
        return 2


def _main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m engine_server", description="The engine of Teamwork.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = arguments[0] if arguments and arguments[0] in COMMANDS else None
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == chosen:
            module = importlib.import_module(f"{__package__}.commands.{name}")
            module.add_arguments(subparser)
    args = parser.parse_args(arguments)
    quiet_packages()
    return module.main(args)


if __name__ == "__main__":
    sys.exit(main())
