# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server status`: what the running engine does; with `--unload`, end its workers."""

from __future__ import annotations

import argparse
import sys

from blender_addon.wire import Status, WireError

from .engine_at import add_engine_arguments, connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_engine_arguments(parser)
    parser.add_argument("--unload", action="store_true", help="end the workers, so that all their memory is free")


def main(args: argparse.Namespace) -> int:
    """Ask and print; 2 after a sentence when the engine does not answer or refuses."""
    try:
        with connect(args, "status command") as client:
            _show(client.unload() if args.unload else client.status())
    except WireError as error:
        print(f"status: {error}", file=sys.stderr)
        return 2
    return 0


def _show(status: Status) -> None:
    process = f" (process {status.worker_pid})" if status.worker_pid else ""
    print(f"engine   {status.instance}, up for {status.uptime:.0f} s")
    print(f"device   {status.device}, {status.memory_free / 1e9:.1f} of {status.memory_total / 1e9:.1f} GB free")
    print(f"worker   {status.worker}{process}")
    print(f"models   {', '.join(status.warm) or 'none'} loaded")
    print(f"queue    {status.running} running, {status.queued} of {status.queue_limit} places taken")
    print(f"ended    {status.done} done, {status.failed} failed, {status.cancelled} cancelled")
    print(f"results  {status.kept} kept, {status.kept_bytes / 1e6:.1f} MB")
    for failure in status.failures:
        print(f"failed   {failure.seconds:.0f} s ago, {failure.job_id}: {failure.sentence} ({failure.code})")
