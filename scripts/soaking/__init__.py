# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak: clients give an engine short jobs; workers, clients and the engine itself are killed at random moments.

Afterwards every job must have ended exactly once as far as its client knows: done with the right pixels, cancelled, or failed
with a reason; and no engine may have begun one twice. What the engine and its worker hold in memory is told, too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

KILLS = ("worker", "client", "engine")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="soak.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long new jobs are given (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=0, help="end after so many jobs, if that comes first (default: no limit)")
    parser.add_argument("--clients", type=int, default=4, help="clients at once, each with a key of its own (default: %(default)s)")
    parser.add_argument("--kill", default=",".join(KILLS), help="what dies: some of %(default)s, or nothing")
    parser.add_argument("--every", type=float, default=4.0, help="seconds between two deaths, on average (default: %(default)s)")
    parser.add_argument("--materials", type=float, default=0.1, help="share of jobs for the bundled team (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the soak and print what came of it: 0 if nothing was lost or done twice, 1 if it was, 2 for a wrong argument."""
    from .chaos import soak

    options = arguments().parse_args(argv)
    kills = tuple(filter(None, options.kill.split(","))) if options.kill != "nothing" else ()
    if unknown := set(kills) - set(KILLS):
        expected = f"expected some of {', '.join(KILLS)}, or nothing"
        print(f"soak.py: --kill does not know {', '.join(sorted(unknown))}; {expected}.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="teamwork-soak-", ignore_cleanup_errors=True) as folder:
        figures = soak(Path(folder), options, kills)
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 1 if figures["faults"] else 0


def table(figures: dict) -> str:
    """The figures as text."""
    ends = [f"  {how:28}{count:6}" for how, count in sorted(figures["ends"].items())]
    killed = ", ".join(f"{count} {name}s" for name, count in figures["killed"].items()) or "nothing"
    memory = [
        f"  {name:10}{before / 2**20:8.0f} MiB at the start, {after / 2**20:.0f} at the end"
        for name, (before, after) in figures["memory"].items()
    ]
    verdict = [f"  {fault}" for fault in figures["faults"]] or ["  none"]
    head = f"{figures['jobs']} jobs in {figures['seconds']:.0f} s; killed: {killed}"
    told = [head, "ends:", *ends, "memory (the first and last processes of their kind):", *memory]
    return "\n".join([*told, "lost, wrong or twice:", *verdict])
