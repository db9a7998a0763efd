# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the rules of Blender's extension platform, as far as they can be read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from scripts.extension import command, zips

SOURCE = command.SOURCE
FILES = sorted(SOURCE.rglob("*.py"))
MANIFEST = zips.read_manifest(SOURCE)
INSTALLERS = {"pip", "ensurepip", "setuptools", "pkg_resources", "venv", "site"}
SECRET = ("token", "password", "secret", "private")
PICTURES = {".png", ".jpg", ".jpeg", ".svg", ".blend", ".dat", ".ico"}


def tree(path: Path) -> ast.Module:
    """A file's syntax."""
    return ast.parse(path.read_text("utf-8"))


def name(path: Path) -> str:
    """A path as a test's name."""
    return str(path.relative_to(SOURCE))


def test_the_name_and_the_licence():
    assert "blender" not in MANIFEST["name"].lower() and "blender" not in MANIFEST["id"]
    assert MANIFEST["license"] == ["SPDX:GPL-3.0-or-later"]
    assert "GNU GENERAL PUBLIC LICENSE" in command.LICENCE.read_text("utf-8")
    assert MANIFEST["blender_version_min"] == "4.2.0"


def test_no_logo_and_nothing_but_sources():
    suffixes = {path.suffix for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert not suffixes & (PICTURES | {".so", ".dll", ".dylib", ".pyd", ".exe", ".whl"})


def test_every_permission_has_a_reason():
    assert set(MANIFEST["permissions"]) == {"network", "files"}
    assert all(len(reason) > 20 for reason in MANIFEST["permissions"].values())


@pytest.mark.parametrize("path", FILES, ids=name)
def test_each_source(path):
    """Blender gives an extension its name, so it imports itself relatively; it installs nothing inside Blender and
    leaves the search path of Blender's Python alone."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            modules = {alias.name.split(".")[0] for alias in node.names}
            assert not modules & (INSTALLERS | {SOURCE.name}), ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module.split(".")[0] not in INSTALLERS | {SOURCE.name}, ast.unparse(node)
        elif isinstance(node, ast.Attribute):
            assert ast.unparse(node) != "sys.path", f"line {node.lineno}"
        elif isinstance(node, ast.Name):
            assert node.id != "bl_info", "the manifest says it"


def test_preferences_are_found_by_the_package():
    """The name that Blender gives, `bl_ext.<repository>.teamwork`, is in no source."""
    for path in FILES:
        assert "bl_ext" not in path.read_text("utf-8"), name(path)
    classes = [node for node in ast.walk(tree(SOURCE / "preferences.py")) if isinstance(node, ast.ClassDef)]
    [preferences] = [node for node in classes if any("AddonPreferences" in ast.unparse(base) for base in node.bases)]
    names = [ast.unparse(line.value) for line in preferences.body if isinstance(line, ast.Assign)]
    assert names[0] == "__package__"


def test_secrets_are_not_shown():
    """A text property whose name tells of a secret has the PASSWORD subtype."""
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation).startswith("StringProperty"):
                if any(word in ast.unparse(node.target) for word in SECRET):
                    assert "PASSWORD" in ast.unparse(node.annotation), f"{name(path)}: {ast.unparse(node.target)}"


def test_what_leaves_the_machine_asks_for_online_access():
    """Whatever opens connections by itself does so through the engine's one route, which asks Blender."""
    route = (SOURCE / "engine.py").read_text("utf-8")
    assert "bpy.app.online_access" in route and "online_access_override" in route
    for path in FILES:
        modules = {alias.name for node in ast.walk(tree(path)) if isinstance(node, ast.Import) for alias in node.names}
        assert not modules & {"urllib.request", "http.client", "requests", "ftplib", "smtplib"}, name(path)
