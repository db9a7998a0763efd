# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server status`: what the running engine does; with `--unload`, end its workers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from blender_addon.wire import Client, Credentials, Status, WireError, read_engine_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--address", help="host:port (default: the engine of this home folder)")
    parser.add_argument("--home", type=Path, metavar="DIR", help="keys and state (default: TEAMWORK_HOME or the user's data)")
    parser.add_argument("--engine-key", metavar="KEY", help="the public key of an engine elsewhere")
    parser.add_argument("--unload", action="store_true", help="end the workers, so that all their memory is free")


def main(args: argparse.Namespace) -> int:
    """Ask and print; 2 after a sentence when the engine does not answer or refuses."""
    try:
        with Client(_address(args), _credentials(args), name="status command") as client:
            _show(client.unload() if args.unload else client.status())
    except WireError as error:
        print(f"status: {error}", file=sys.stderr)
        return 2
    return 0


def _address(args: argparse.Namespace) -> str:
    record = None if args.address else read_engine_record(args.home)
    if not args.address and record is None:
        raise WireError("No engine runs with this home folder: start one with `python -m engine_server serve`.")
    return args.address or record.address


def _credentials(args: argparse.Namespace) -> Credentials:
    return Credentials.remote(args.engine_key, args.home) if args.engine_key else Credentials.local(args.home)


def _show(status: Status) -> None:
    process = f" (process {status.worker_pid})" if status.worker_pid else ""
    print(f"engine   {status.instance}, up for {status.uptime:.0f} s")
    print(f"device   {status.device}, {status.memory_free / 1e9:.1f} of {status.memory_total / 1e9:.1f} GB free")
    print(f"worker   {status.worker}{process}")
    print(f"queue    {status.queued} of {status.queue_limit} places taken")
    print(f"results  {status.kept} kept, {status.kept_bytes / 1e6:.1f} MB")
