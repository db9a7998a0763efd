# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine a command speaks to: the options that say so, and the connection."""

from __future__ import annotations

import argparse
from pathlib import Path

from blender_addon.wire import Client, Credentials, WireError, read_engine_record


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that name an engine."""
    parser.add_argument("--address", help="host:port (default: the engine of this home folder)")
    parser.add_argument("--home", type=Path, metavar="DIR", help="keys and state (default: TEAMWORK_HOME or the user's data)")
    key = "the public key of an engine elsewhere, quoted for the shell: --engine-key='KEY'"
    parser.add_argument("--engine-key", metavar="KEY", help=key)


def connect(args: argparse.Namespace, name: str) -> Client:
    """A client of the named engine. Raises `WireError` when none runs with this home folder, or the keys are missing."""
    return Client(_address(args), _credentials(args), name=name)


def _address(args: argparse.Namespace) -> str:
    record = None if args.address else read_engine_record(args.home)
    if not args.address and record is None:
        raise WireError("No engine runs with this home folder: start one with `python -m engine_server serve`.")
    return args.address or record.address


def _credentials(args: argparse.Namespace) -> Credentials:
    return Credentials.remote(args.engine_key, args.home) if args.engine_key else Credentials.local(args.home)
