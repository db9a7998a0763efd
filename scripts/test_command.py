# SPDX-License-Identifier: GPL-3.0-or-later
"""What `test.py` does once it has a Python that will do. Standard library only.

Tests that use Blender run in one process for each file, since Blender keeps state that cannot be taken back.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from . import environment

ABOUT = "Runs all tests with the Blender that this Python has a module of. Further words go to pytest."
NOTHING_COLLECTED = 5
MOST_SECONDS = 3600
"""For one process; then it counts as failed, since Blender's module can hang on its way out."""


def groups(tests: Path, chosen: list[Path]) -> list[list[Path]]:
    """What goes into one process each: everything without Blender together, then every file under tests/blender."""
    chosen = chosen or sorted(p for p in tests.iterdir() if p.is_dir() or p.name.startswith("test_"))
    alone, together = [], []
    for path in (p for p in chosen if not p.name.startswith("__")):
        if "blender" not in path.parts[len(tests.parts) :]:
            together.append(path)
        else:
            alone += sorted(path.glob("test_*.py")) if path.is_dir() else [path]
    return [group for group in (together, *([p] for p in alone)) if group]


def isolated(folder: Path) -> dict[str, str]:
    """Variables that keep the tests off the user's own engine, Blender preferences and caches, and off the network."""
    homes = {"TEAMWORK_HOME": "engine", "BLENDER_USER_RESOURCES": "blender"}
    homes |= {"HF_HOME": "hub", "XDG_CACHE_HOME": "cache"}
    for name in homes.values():
        (folder / name).mkdir(mode=0o700)
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    # one thread: several of them on a busy machine wait for each other and are many times slower
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    return environment.variables(**{key: str(folder / name) for key, name in homes.items()}, **quiet, **threads)


@dataclass
class Outcome:
    """What ran: how many tests, how many failed or were skipped, the names of those that failed, and how long it took."""

    counts: Counter = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Has something run, and all of it passed?"""
        return bool(self.counts["tests"]) and not self.failed

    def line(self) -> str:
        """One line: "5 passed, 0 failed"."""
        bad, skipped = self.counts["failures"] + self.counts["errors"], self.counts["skipped"]
        passed = self.counts["tests"] - bad - skipped
        return f"{passed} passed, {bad} failed" + (f", {skipped} skipped" if skipped else "")


def run(python: Path, root: Path, words: list[str]) -> int:
    """Run every group, also after one has failed, and add up; 0 if all that ran has passed and something ran.

    Words that name files or folders of tests choose these; all others go to pytest.
    """
    chosen, rest = split_words(root.resolve(), words)
    return _conclude(run_groups(python, root.resolve(), groups(root.resolve() / "tests", chosen), rest))


def split_words(root: Path, words: list[str]) -> tuple[list[Path], list[str]]:
    """The tests that some words name, and the other words."""
    chosen = [word for word in words if word.startswith("tests/") and (root / word.split("::")[0]).exists()]
    return [root / word for word in chosen], [word for word in words if word not in chosen]


def run_groups(python: Path, root: Path, all_groups: list[list[Path]], words: list[str], **more: str) -> Outcome:
    """Run each group in a process of its own, with `more` variables, on nothing of the user's. The models that the first one
    makes serve the others, too."""
    started, outcome = time.monotonic(), Outcome()
    with tempfile.TemporaryDirectory(prefix="teamwork-tests-", ignore_cleanup_errors=True) as folder:
        more = {"TEAMWORK_TEST_MODELS": str(Path(folder) / "models")} | more
        for number, group in enumerate(all_groups):
            print(f"== {' '.join(path.name for path in group)}", flush=True)
            own = Path(folder) / str(number)
            own.mkdir()
            results = own / "results.xml"
            status = _pytest(python, root, [*map(str, group), f"--junitxml={results}", *words], isolated(own) | more)
            counts, names = _read(results)
            outcome.counts += counts
            if status not in (0, NOTHING_COLLECTED):
                died = f"{' '.join(path.name for path in group)} (the process ended with status {status})"
                outcome.failed += names or [died]
    outcome.seconds = time.monotonic() - started
    return outcome


def _pytest(python: Path, root: Path, words: list[str], variables: dict[str, str]) -> int:
    command = [str(python), "-m", "pytest", "-q", *words]
    try:
        return subprocess.run(command, cwd=root, env=variables, timeout=MOST_SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        print(f"This did not end within {MOST_SECONDS} s and was killed.", flush=True)
        return 1


def _read(results: Path) -> tuple[Counter, list[str]]:
    """How many tests a process ran, and the names of those that failed; nothing if it died before it could tell."""
    if not results.exists():
        return Counter(), []
    root = ElementTree.parse(results).getroot()
    kinds = ("tests", "failures", "errors", "skipped")
    counts = Counter({kind: sum(int(suite.get(kind, 0)) for suite in root.iter("testsuite")) for kind in kinds})
    bad = [c for c in root.iter("testcase") if c.find("failure") is not None or c.find("error") is not None]
    return counts, [f"{case.get('classname')}.{case.get('name')}" for case in bad]


def _conclude(outcome: Outcome) -> int:
    """The last lines, and the exit status."""
    print("\n" + "".join(f"FAILED {name}\n" for name in outcome.failed) + f"{outcome.seconds:.0f} s")
    if not outcome.failed and not outcome.counts["tests"]:
        print("No test was run: nothing has the name that was asked for.")
    print(outcome.line(), flush=True)
    return 0 if outcome.good else 1


def main() -> int:
    """Set up and run, here or in the Blenders that `--hosts` names."""
    parser = argparse.ArgumentParser(prog="test.py", description=ABOUT, allow_abbrev=False)
    about = "the add-on's tests only, in these Blenders: all, or versions such as 4.2,5.2"
    parser.add_argument("--hosts", metavar="NAMES", help=about)
    options, words = parser.parse_known_args()
    if options.hosts is not None:
        from . import hosts
        from .host_tests import run_hosts

        try:
            hosts.chosen(options.hosts)  # before anything is set up for them
        except environment.SetupError as error:
            print(error, file=sys.stderr)
            return 2
        return environment.guarded(lambda python: run_hosts(python, environment.ROOT, options.hosts, words))
    return environment.guarded(lambda python: run(python, environment.ROOT, words))
