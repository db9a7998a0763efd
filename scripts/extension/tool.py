# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's own command for extensions, as its Python module brings it along; what `blender --command extension` runs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from .wheels import BuildError

TOOL = "scripts/addons_core/bl_pkg/cli/blender_ext.py"
TAGS = "scripts/modules/_bpy_internal/extensions/tags.py"


def blender_files() -> Path:
    """The folder of Blender's own scripts and data. Raises `BuildError`; does not start Blender."""
    found = importlib.util.find_spec("bpy")
    places = sorted(Path(found.origin).parent.glob(f"*/{TOOL}")) if found and found.origin else []
    if not places:
        raise BuildError("Blender's Python module is not installed here: run this with the project's own environment.")
    return places[-1].parents[4]


def extension_tool(*words: str) -> str:
    """Run one of its commands (`build`, `validate`, `server-generate` ...); gives what it prints. Raises `BuildError`."""
    command = [sys.executable, str(blender_files() / TOOL), *words]
    ended = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    said = f"{ended.stdout}{ended.stderr}".strip()
    if ended.returncode:
        raise BuildError(f"Blender's own check refuses this ({words[0]}): {' '.join(said.split())}")
    return said


def validate(path: Path) -> None:
    """Check a zip or a folder as Blender and its platform would, tags included. Raises `BuildError`."""
    extension_tool("validate", str(path), "--valid-tags", str(blender_files() / TAGS))
