# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's tests in several Blenders, with the built zip installed there through Blender's extension system."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from . import environment, hosts
from .environment import SetupError
from .extension.wheels import this_platform
from .test_command import Outcome, groups, run_groups, split_words

NOT_THE_ADD_ON = {"test_cycles_scenes.py"}
"""Tests of scripts that make training pictures; these run in the Blender of `.venv` only."""


def run_hosts(python: Path, root: Path, names: str, words: list[str]) -> int:
    """Run in each host, also after one has failed, and add up; 0 if all passed. `python` has torch, for the engine.

    Raises `SetupError` if a host or the zip cannot be had.
    """
    wanted = hosts.chosen(names)
    ready = [(host, hosts.ensure_host(host)) for host in wanted]
    chosen, rest = split_words(root, words)
    files = [group for group in groups(root / "tests", chosen or [root / "tests" / "blender"]) if _is_add_on(group)]
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="teamwork-zip-") as folder:
        archive = build(python, root, Path(folder))
        variables = {"TEAMWORK_TEST_EXTENSION": str(archive), "TEAMWORK_TEST_ENGINE_PYTHON": str(python)}
        variables["TEAMWORK_TEST_MODELS"] = str(Path(folder) / "models")
        for host, its_python in ready:
            print(f"\n==== Blender {host.name} ({host.bpy}, Python {host.python[0]}.{host.python[1]})", flush=True)
            outcomes[host.name] = run_groups(its_python, root, files, rest, **variables)
    return conclude(outcomes)


def _is_add_on(group: list[Path]) -> bool:
    return not {path.name for path in group} & NOT_THE_ADD_ON


def build(python: Path, root: Path, folder: Path) -> Path:
    """The zip for this platform, in `folder`. Raises `SetupError` with what the builder says."""
    command = [str(python), "-m", "scripts.extension.command", "--out", str(folder), "--platform", this_platform()]
    done = subprocess.run(command, cwd=root, env=environment.variables(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(done.stderr.strip())
    return next(folder.glob("*.zip"))


def conclude(outcomes: dict[str, Outcome]) -> int:
    """A line for each host, the names of what failed, and the sum as the last line."""
    print()
    total = Outcome()
    for name, outcome in outcomes.items():
        print("".join(f"FAILED in {name}: {each}\n" for each in outcome.failed), end="")
        print(f"Blender {name}: {outcome.line()} in {outcome.seconds:.0f} s")
        total.counts += outcome.counts
        total.failed += outcome.failed
    print(total.line(), flush=True)
    return 0 if all(outcome.good for outcome in outcomes.values()) else 1
