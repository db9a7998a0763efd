# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on comes and goes: as a package, and as the extension that users install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import bpy
import pytest

import blender_addon

ROOT = Path(blender_addon.__file__).parents[1]
OPERATORS = {
    "cancel",
    "connect",
    "decompose_image",
    "disconnect",
    "material_from_image",
    "neural_render",
    "test_engine",
    "unload",
}

INSTALL = """
import json, os, sys
import bpy
bpy.ops.extensions.package_install_files(filepath=sys.argv[1], repo="user_default", enable_on_install=True)
addon = bpy.context.preferences.addons["bl_ext.user_default.teamwork"]
addon.preferences.engine_python = sys.executable
addon.preferences.address = "203.0.113.1:7000"
told = {"torch": "torch" in sys.modules}
try:
    bpy.ops.teamwork.connect()
except RuntimeError as error:
    told["offline"] = str(error)
addon.preferences.address = ""
try:
    bpy.ops.teamwork.test_engine()
    from bl_ext.user_default.teamwork.engine import LINK
    told["device"] = LINK.welcome.device
except RuntimeError as error:
    told["error"] = str(error)
bpy.ops.preferences.addon_disable(module="bl_ext.user_default.teamwork")
told["left"] = dir(bpy.ops.teamwork)
print("TOLD", json.dumps(told), flush=True)
os._exit(0)
"""
"""What a user does with the zip, in a Blender of its own."""


def operators() -> set[str]:
    """The add-on's operators that can be called."""
    return {name for name in dir(bpy.ops.teamwork) if hasattr(bpy.types, f"TEAMWORK_OT_{name}")}


def extension_tool(*words: str) -> subprocess.CompletedProcess:
    """Blender's own tool for extensions."""
    tool = Path(bpy.utils.resource_path("LOCAL")) / "scripts/addons_core/bl_pkg/cli/blender_ext.py"
    return subprocess.run([sys.executable, str(tool), *words], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def extension(tmp_path_factory) -> Path:
    """The zip that Blender's tool makes of the add-on's folder."""
    made = tmp_path_factory.mktemp("extension") / "teamwork.zip"
    built = extension_tool("build", "--source-dir", str(ROOT / "blender_addon"), "--output-filepath", str(made))
    assert built.returncode == 0, built.stdout + built.stderr
    return made


def test_registers_and_leaves_nothing_twice():
    for _ in range(2):
        assert not operators() and not hasattr(bpy.types.Scene, "teamwork")
        blender_addon.register()
        assert operators() == OPERATORS
        assert bpy.context.scene.teamwork.samples == 4
        blender_addon.unregister()
    assert not operators() and not hasattr(bpy.types.Scene, "teamwork")


def test_registering_starts_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("TEAMWORK_HOME", str(tmp_path / "home"))
    blender_addon.register()
    try:
        from blender_addon.engine import LINK

        assert LINK.session is None and not (tmp_path / "home").exists()
        assert LINK.state() == "Not running"
    finally:
        blender_addon.unregister()


def test_every_operator_and_property_tells_what_it_does():
    blender_addon.register()
    try:
        for name in OPERATORS:
            kind = getattr(bpy.ops.teamwork, name).get_rna_type()
            assert kind.description and not kind.description.endswith(".")
            assert all(each.description for each in kind.properties if each.identifier != "rna_type"), name
    finally:
        blender_addon.unregister()


def test_the_folder_is_a_valid_extension(extension):
    checked = extension_tool("validate", str(extension))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    names = zipfile.ZipFile(extension).namelist()
    assert "blender_manifest.toml" in names and "wire/PROTOCOL.md" in names
    assert not [name for name in names if "__pycache__" in name]


def test_the_installed_extension_talks_to_an_engine_that_it_starts(extension, tmp_path):
    """Far addresses are refused while Blender is offline; torch never enters Blender; disabling ends everything."""
    (tmp_path / "user").mkdir()
    variables = os.environ | {"BLENDER_USER_RESOURCES": str(tmp_path / "user"), "TEAMWORK_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", INSTALL, str(extension)], env=variables, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("TOLD ")), "")
    assert line, done.stdout + done.stderr
    told = json.loads(line.removeprefix("TOLD "))
    assert "Allow Online Access" in told.pop("offline")
    assert told == {"torch": False, "device": "cpu", "left": []}
    assert not (tmp_path / "home" / "engine.json").exists(), "the engine that it started has ended"
