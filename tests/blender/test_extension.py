# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension as users have it: installed from its zip or from a repository, used, updated, disabled, uninstalled.

Each in a Blender of its own, with a user folder of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.extension import command, repository, wheels, zips
from tests.blender.operating import ENGINE_PYTHON, models, photo  # noqa: F401 (fixtures)

HERE = wheels.this_platform()

START = """
import hashlib, json, os, pathlib, sys
import bpy
told = {}
def finish():
    print("TOLD", json.dumps(told), flush=True)
    os._exit(0)
def files(folder):
    found = (path for path in pathlib.Path(folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sorted(f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in found)
def said(operator, **settings):
    try:
        operator(**settings)
    except RuntimeError as error:
        return str(error)
    return ""
"""

USE = """
archive, photo, engine_python = sys.argv[1:]
bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
module = "bl_ext.user_default.teamwork"
folder = pathlib.Path(bpy.utils.user_resource("EXTENSIONS")) / "user_default/teamwork"
before = files(folder)
preferences = bpy.context.preferences.addons[module].preferences
preferences.engine_python = engine_python
preferences.place, preferences.address = "ELSEWHERE", "203.0.113.1:7000"
told["offline"] = said(bpy.ops.teamwork.connect)
preferences.place = "HERE"
told["test"] = said(bpy.ops.teamwork.test_engine)
told["material"] = said(bpy.ops.teamwork.material_from_image, filepath=photo, model="tiny")
told["materials"] = [material.name for material in bpy.data.materials if "teamwork_task" in material]
import zmq
told["zmq"] = [zmq.__version__, zmq.__file__]
told["torch"] = "torch" in sys.modules
told["unchanged"] = before == files(folder) and len(before) > 30
bpy.ops.preferences.addon_disable(module=module)
told["left"] = dir(bpy.ops.teamwork)
bpy.ops.preferences.addon_enable(module=module)
told["again"] = "material_from_image" in dir(bpy.ops.teamwork)
repos = list(bpy.context.preferences.extensions.repos)
index = next(i for i, repo in enumerate(repos) if repo.module == "user_default")
bpy.ops.extensions.package_uninstall(repo_index=index, pkg_id="teamwork")
told["uninstalled"] = not folder.exists() and module not in bpy.context.preferences.addons and not dir(bpy.ops.teamwork)
finish()
"""

UPDATE = """
import shutil, tomllib
site, newer = sys.argv[1:]
bpy.context.preferences.system.use_online_access = True
repos = bpy.context.preferences.extensions.repos
repo = repos.new(name="Ours", module="ours", remote_url=(pathlib.Path(site) / "index.json").as_uri())
repo.use_remote_url = True
index = list(repos).index(repo)
folder = pathlib.Path(bpy.utils.user_resource("EXTENSIONS")) / "ours/teamwork"
def version():
    return tomllib.loads((folder / "blender_manifest.toml").read_text())["version"]
bpy.ops.extensions.repo_sync(repo_index=index)
bpy.ops.extensions.package_install(repo_index=index, pkg_id="teamwork", enable_on_install=True)
told["first"] = [version(), hasattr(bpy.ops.teamwork, "material_from_image")]
shutil.copytree(newer, site, dirs_exist_ok=True)
bpy.ops.extensions.repo_sync(repo_index=index)
bpy.ops.extensions.package_upgrade_all(use_active_only=False)
told["updated"] = [version(), "bl_ext.ours.teamwork" in bpy.context.preferences.addons]
told["registered"] = hasattr(bpy.types, "TEAMWORK_OT_cancel")
finish()
"""


def in_blender(code: str, tmp_path: Path, *words: object, **more: str) -> dict:
    """Run code in a Blender of its own; gives what it told."""
    (tmp_path / "user").mkdir()
    homes = {"BLENDER_USER_RESOURCES": str(tmp_path / "user"), "TEAMWORK_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", START + code, *map(str, words)]
    variables = os.environ | homes | more
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("TOLD ")), "")
    assert line, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return json.loads(line.removeprefix("TOLD "))


def built(folder: Path, version: str) -> Path:
    """The zip of a version for this platform."""
    source = folder / f"source-{version}"
    shutil.copytree(command.SOURCE, source)
    manifest, old = source / zips.MANIFEST, zips.read_manifest(source)["version"]
    manifest.write_text(manifest.read_text().replace(f'\nversion = "{old}"', f'\nversion = "{version}"'))
    return zips.build_zip(source, command.LICENCE, folder / "dist", HERE, command.CACHE)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """The zip for this platform."""
    return zips.build_zip(command.SOURCE, command.LICENCE, tmp_path_factory.mktemp("dist"), HERE, command.CACHE)


def test_installed_used_disabled_and_uninstalled(archive, photo, models, tmp_path):
    """Far addresses are refused while Blender is offline; torch never enters Blender; disabling ends everything;
    nothing is written into the extension's own folder."""
    variables = {"TEAMWORK_MODELS": str(models)}
    told = in_blender(USE, tmp_path, archive, photo, ENGINE_PYTHON, **variables)
    assert "Allow Online Access" in told.pop("offline")
    version, place = told.pop("zmq")
    in_host = Path(place).is_relative_to(sys.prefix)
    assert in_host or (version == "26.4.0" and Path(place).is_relative_to(tmp_path / "user" / "extensions" / ".local"))
    assert told == {
        **{"test": "", "material": "", "materials": ["wall"], "torch": False, "unchanged": True},
        **{"left": [], "again": True, "uninstalled": True},
    }
    assert not (tmp_path / "home" / "engine.json").exists(), "the engine that it started has ended"


def test_installed_and_updated_from_the_repository(tmp_path):
    first = repository.write_repository([built(tmp_path, "0.9.0")], tmp_path / "site").parent
    newer = repository.write_repository([built(tmp_path, "0.10.0")], tmp_path / "newer").parent
    told = in_blender(UPDATE, tmp_path, first, newer)
    assert told == {"first": ["0.9.0", True], "updated": ["0.10.0", True], "registered": True}
