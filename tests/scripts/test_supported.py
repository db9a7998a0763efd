# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the first second of a newcomer with another Python: one sentence, never a syntax error."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from scripts.environment import ROOT
from scripts.supported import problem

FIRST_READ = ("scripts/__init__.py", "scripts/supported.py", "scripts/demo.py", "scripts/test.py", "scripts/build_extension.py")
AS_VERSION = (
    "import runpy, sys; sys.version_info = ({}, 'final', 0); sys.argv = [{!r}];"
    "runpy.run_path({!r}, run_name='__main__')"
)


@pytest.mark.parametrize("version", [(3, 11), (3, 13), (3, 11, 7)])
def test_pythons_that_blender_has_a_module_for(version):
    assert problem(version) == ""


@pytest.mark.parametrize("version", [(2, 7), (3, 6), (3, 10), (3, 12), (3, 14)])
def test_all_others_get_a_sentence_with_the_fix(version):
    said = problem(version)
    assert f"This is Python {version[0]}.{version[1]}," in said and "3.11 or 3.13" in said and said.endswith(".")


@pytest.mark.parametrize("command", ["scripts/demo.py", "scripts/test.py", "scripts/build_extension.py"])
@pytest.mark.parametrize("version", ["3, 9, 18", "3, 12, 1"])
def test_the_commands_end_with_that_sentence(command, version):
    code = AS_VERSION.format(version, command, command)
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr.count("\n") == 1 and "install Python 3.11 or 3.13" in ended.stderr and command in ended.stderr


@pytest.mark.parametrize("path", FIRST_READ)
def test_what_is_read_before_has_no_newer_syntax(path):
    """No annotations, no f-strings, no `from __future__ import annotations`: Python 2.7 and 3.6 know none of these."""
    tree = ast.parse((ROOT / path).read_text("ascii"), feature_version=(3, 4))
    for node in ast.walk(tree):
        assert not isinstance(node, (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Nonlocal))
        assert not (isinstance(node, ast.arg) and node.annotation) and not getattr(node, "returns", None)
        assert not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
