# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's wheel, which travels inside the extension so that the two always match; Blender itself never installs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .wheels import BuildError

PARTS = ("pyproject.toml", "README.md", "LICENSE", "blender_addon", "engine_server")
CONSTRAINTS = "constraints.txt"
EPOCH = "315532800"
"""The first second of 1980, the earliest that a zip can hold: real times would make two builds of the same differ."""
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def build_engine(root: Path, out: Path) -> list[Path]:
    """The engine's wheel, built into `out` with pip, and the versions of other packages that it is known to work with.

    Raises `BuildError`.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:  # setuptools leaves its own folders beside what it builds
        for part in PARTS:
            _copy(root / part, Path(folder) / part)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), folder]
        variables = os.environ | {"SOURCE_DATE_EPOCH": EPOCH}
        said = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    wheels = sorted(out.glob("teamwork_blender-*.whl"))
    if said.returncode or len(wheels) != 1:
        last = (said.stderr.strip().splitlines() or ["nothing"])[-1]
        raise BuildError(f"The engine's wheel could not be built in {out}; mend what pip says: {last}")
    return [wheels[0], Path(shutil.copyfile(root / CONSTRAINTS, out / CONSTRAINTS))]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=LEFT_OUT)
    else:
        shutil.copyfile(source, target)
