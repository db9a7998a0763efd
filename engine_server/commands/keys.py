# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server keys`: which clients the engine answers, and the keys that the two ends must exchange."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from blender_addon.wire import CredentialsError, KeyRing, WireError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.epilog = "Keys hold characters that a shell takes for its own, such as & and $: write keys add anna 'KEY'."
    actions = "show prints this engine's public key, or with `client` the key of this user as a client of other engines"
    parser.add_argument("action", choices=("show", "list", "add", "remove"), help=actions)
    parser.add_argument("name", nargs="?", help="a client, for add and remove; engine (default) or client for show")
    parser.add_argument("key", nargs="?", help="the client's public key, for add, in single quotes: 'KEY'")
    parser.add_argument("--home", type=Path, metavar="DIR", help="keys and state (default: TEAMWORK_HOME or the user's data)")


def main(args: argparse.Namespace) -> int:
    """Do it; 0 when it is done, 2 after a sentence on what to mend."""
    try:
        _act(args, KeyRing(args.home))
    except WireError as error:
        print(f"keys: {error}", file=sys.stderr)
        return 2
    return 0


def _act(args: argparse.Namespace, ring: KeyRing) -> None:
    if args.action == "show":
        print(ring.pair(_side(args.name)).public)
    elif args.action == "list":
        for name, key in ring.listed().items():
            print(f"{key}  {name}")
    elif args.action == "add":
        ring.add(args.name or "", args.key or "")
    else:
        ring.remove(args.name or "")


def _side(name: str | None) -> str:
    if name not in (None, "engine", "client"):
        raise CredentialsError(f"`keys show` has no key {name!r} to show; expected engine or client.")
    return name or "engine"
