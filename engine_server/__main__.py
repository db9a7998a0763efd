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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
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
