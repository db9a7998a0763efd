# SPDX-License-Identifier: GPL-3.0-or-later
"""What `window_test.py` does: sets up, runs each Blender, prints what was checked. Standard library only."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from .. import environment
from ..environment import ROOT, SetupError
from . import chroot
from .visit import Visit, visit

ABOUT = (
    "Drives the add-on in real Blenders with a window under Xvfb, by script and by clicks; checks what happens and takes "
    "pictures. Needs root on Debian or Ubuntu: it makes a Debian for each Blender in a folder."
)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="window_test.py", description=ABOUT)
    known = ",".join(system.suite for system in chroot.SYSTEMS)
    parser.add_argument("--systems", default=known, help=f"Debian releases, with commas between ({known})")
    out = "folder for the pictures (window_output)"
    parser.add_argument("--out", type=Path, default=Path("window_output"), metavar="DIR", help=out)
    folder = "where the Debians are kept (.chroots)"
    parser.add_argument("--folder", type=Path, default=ROOT / ".chroots", metavar="DIR", help=folder)
    parts = "only these parts, with commas: panels, jobs, view, languages, render, failing, quitting, command_line"
    parser.add_argument("--only", default="", metavar="NAMES", help=parts)
    return parser


def _chosen(names: str) -> list[chroot.System]:
    """Raises `SetupError`."""
    known = {system.suite: system for system in chroot.SYSTEMS}
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise SetupError(f"There is no {', '.join(unknown)}: choose from {', '.join(known)}.")
    return [known[name] for name in names.split(",")]


def _print(done: Visit) -> None:
    for check in done.checks:
        mark = "ok    " if check["ok"] else "FAILED"
        detail = f" ({check['detail']})" if check["detail"] else ""
        print(f"  {mark} {check['name']}{detail}")
    wrong = sum(not check["ok"] for check in done.checks)
    print(f"{done.name}: {len(done.checks)} checks, {wrong} failed, {len(done.shots)} pictures in {done.out}", flush=True)


def _run(python: Path) -> int:
    options = arguments().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Blender ends and nothing stays mounted
    chroot.require_debian()
    good = True
    for system in _chosen(options.systems):
        root = chroot.ensure(system, options.folder.absolute())
        done = visit(system, root, python, options.out.absolute() / system.suite, options.only)
        _print(done)
        good = good and done.good
    print("PASSED" if good else "FAILED", flush=True)
    return 0 if good else 1


def main() -> int:
    """0 if everything held, 1 if a check failed, 2 and a sentence if it cannot run here."""
    arguments().parse_args()
    return environment.guarded(_run)
