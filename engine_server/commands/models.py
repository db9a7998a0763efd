# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server models`: the installed teams, with licence, teammates, sizes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from blender_addon.wire import ModelInfo

from ..models import ModelError, catalogue, team_folders, team_info


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("name", nargs="?", help="show this team in full")
    parser.add_argument("--models", type=Path, action="append", default=[], metavar="DIR", help="a folder of further teams")


def main(args: argparse.Namespace) -> int:
    """List all teams, or show one; 2 after a sentence when there is none of that name."""
    if args.name is None:
        return _list(args.models)
    folders = team_folders(args.models)
    try:
        if args.name not in folders:
            raise ModelError(f"There is no team {args.name!r}; installed: {', '.join(folders) or 'none'}.")
        _show(team_info(folders[args.name]), folders[args.name])
    except ModelError as error:
        print(f"models: {error}", file=sys.stderr)
        return 2
    return 0


def _list(folders: list[Path]) -> int:
    for info in catalogue(folders):
        print(f"{info.name:<16} {info.size_bytes / 1e6:8.1f} MB  {info.licence:<20} {info.title}")
    return 0


def _show(info: ModelInfo, folder: Path) -> None:
    print(f"{info.name}: {info.title}")
    print(f"folder       {folder}")
    print(f"licence      {info.licence}")
    print(f"teammates    {', '.join(info.teammates)}")
    print(f"size         {info.size_bytes / 1e6:.1f} MB on disk, about {info.memory_bytes / 1e6:.0f} MB in memory")
    print(f"native size  {info.native_size} pixels; {info.default_steps} steps by default")
