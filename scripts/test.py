# SPDX-License-Identifier: GPL-3.0-or-later
"""All tests, from a bare Python: sets up the environment, then runs pytest. Further words go to pytest.

    python3 scripts/test.py [-k WORD ...]

Tests that use Blender run in one process for each file, since Blender keeps state that cannot be taken back.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

NOTHING_COLLECTED = 5


def groups(tests: Path) -> list[list[str]]:
    """What goes into one process each: every file under tests/blender, then everything else together."""
    alone = sorted((tests / "blender").glob("test_*.py"))
    rest = sorted(p for p in tests.iterdir() if p.name != "blender" and (p.is_dir() or p.name.startswith("test_")))
    return [[str(p) for p in rest if not p.name.startswith("__")], *([str(p)] for p in alone)]


def run(python: Path, root: Path, words: list[str]) -> int:
    """Run every group, also after one has failed; 0 if all passed."""
    variables = {"OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONUNBUFFERED": "1"} | os.environ
    failed = []
    for group in groups(root / "tests"):
        print(f"== {' '.join(Path(p).name for p in group)}", flush=True)
        status = subprocess.run([str(python), "-m", "pytest", "-q", *group, *words], cwd=root, env=variables, check=False)
        if status.returncode not in (0, NOTHING_COLLECTED if words else 0):
            failed += group
    print(f"FAILED: {', '.join(failed)}" if failed else "All tests passed", flush=True)
    return 1 if failed else 0


def main() -> int:
    """Set up and run."""
    from scripts import environment

    started = time.monotonic()
    try:
        python = environment.ensure()
    except environment.SetupError as error:
        print(error, file=sys.stderr)
        return 2
    status = run(python, environment.ROOT, sys.argv[1:])
    print(f"{time.monotonic() - started:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
