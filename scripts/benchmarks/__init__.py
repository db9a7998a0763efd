# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmarks: each a module of this folder with a docstring and `main(argv: list[str]) -> int`, found by its name.

A module's docstring begins with the line that the list of benchmarks shows. Only the chosen module is imported.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent


def benchmarks() -> dict[str, str]:
    """All benchmarks by name, each with the first line of its docstring. A name that begins with _ is a helper's."""
    files = sorted(path for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
    return {path.stem: _summary(path) for path in files}


def _summary(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]


def main(argv: Sequence[str]) -> int:
    """Run the benchmark that the first word names with the words after it; returns its exit status, 2 for no such name."""
    known = benchmarks()
    if not argv or argv[0] not in known:
        wanted = argv[0] if argv else ""
        told = "" if wanted in ("", "-h", "--help") else f"There is no benchmark {wanted!r}. "
        listed = "\n".join(f"  {name:12} {summary}" for name, summary in known.items())
        text = f"{told}benchmark.py takes one of these names, and --help after it:\n{listed}"
        print(text, file=sys.stderr if told else None)
        return 2 if told or not argv else 0
    try:
        module = importlib.import_module(f"{__name__}.{argv[0]}")
    except ModuleNotFoundError as error:
        fix = "run the benchmark with the one in .venv, which scripts/test.py makes"
        print(f"This Python has no {error.name}: {fix}.", file=sys.stderr)
        return 2
    return module.main(list(argv[1:]))
