# SPDX-License-Identifier: GPL-3.0-or-later
"""Setting the engine up from Blender, and the preferences that say where it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import bpy
import pytest

import blender_addon
from blender_addon.environment import environment_folder, installed, python_of
from tests.addon.wheels import engine_wheel, torch_wheel
from tests.blender.operating import refused

PACKAGE = blender_addon.__name__


@pytest.fixture
def preferences(tmp_path, monkeypatch):
    """The add-on enabled as a user has it, with preferences, and a home without an engine."""
    import addon_utils

    monkeypatch.setenv("TEAMWORK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEAMWORK_ENGINE_PYTHON", "")
    monkeypatch.setattr("blender_addon.launcher.ROOT", tmp_path)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert addon_utils.enable(PACKAGE, default_set=True) is blender_addon
    yield bpy.context.preferences.addons[PACKAGE].preferences
    addon_utils.disable(PACKAGE, default_set=True)


@pytest.fixture
def wheels(tmp_path) -> Path:
    """A folder that has what an environment needs."""
    torch_wheel(tmp_path / "wheels")
    return engine_wheel(tmp_path / "wheels").parent


def plan(preferences, wheels: Path) -> None:
    """Everything from the folder, nothing from elsewhere."""
    preferences.index, preferences.base_python = str(wheels), sys.executable
    preferences.source, preferences.device = str(next(wheels.glob("team*"))), "cpu"


def test_the_button_sets_the_engine_up(preferences, wheels):
    from blender_addon import launcher, setting_up

    assert setting_up.missing() and "press Set Up Engine" in refused(bpy.ops.teamwork.connect)
    plan(preferences, wheels)
    assert bpy.ops.teamwork.set_up() == {"FINISHED"}
    assert installed().engine == "0.1.0" and not setting_up.missing()
    python = launcher.find_python()
    assert python == python_of(environment_folder()) and launcher.find_device("auto", python) == "cpu"
    assert "PyTorch 2.13.0" in setting_up.describe(installed())


def test_what_is_wrong_is_one_sentence(preferences, wheels, tmp_path):
    plan(preferences, wheels)
    preferences.base_python = "/bin/false"
    assert "does not run" in refused(bpy.ops.teamwork.set_up)
    preferences.base_python = sys.executable
    preferences.source = str(tmp_path / "none.whl")
    assert "none.whl" in refused(bpy.ops.teamwork.set_up)
    preferences.source, preferences.index = str(next(wheels.glob("team*"))), ""
    if not bpy.app.online_access:
        assert "Allow Online Access" in refused(bpy.ops.teamwork.set_up)


def test_it_can_be_cancelled_and_unregistering_ends_it(preferences, wheels):
    from blender_addon import setting_up

    plan(preferences, wheels)
    setup = setting_up.start()
    assert setting_up.start() is setup and not bpy.ops.teamwork.set_up.poll()
    bpy.ops.teamwork.cancel_set_up()
    assert setup.wait(30) and setup.state == "cancelled" and setting_up.take_end() and not setting_up.take_end()
    setup = setting_up.start()
    blender_addon.unregister()
    assert setup.wait(30) and setup.state == "cancelled" and installed() is None
    blender_addon.register()


def test_a_new_extension_sees_that_its_engine_is_old(preferences, wheels, tmp_path, monkeypatch):
    from blender_addon import setting_up
    from blender_addon.environment import source

    addon = tmp_path / "extension"
    engine_wheel(addon / "bundled")
    monkeypatch.setattr(source, "ADDON", addon)
    plan(preferences, wheels)
    preferences.source = ""
    bpy.ops.teamwork.set_up()
    assert not setting_up.outdated()
    engine_wheel(addon / "bundled", code="NEWER = True\n")
    assert setting_up.outdated()


def test_the_test_button_says_what_is_wrong_with_an_engine_elsewhere(preferences):
    preferences.place, preferences.timeout = "ELSEWHERE", 1.0
    assert "Enter the engine's address" in refused(bpy.ops.teamwork.test_engine)
    preferences.address = "127.0.0.1:9"
    assert "Nothing listens at tcp://127.0.0.1:9" in refused(bpy.ops.teamwork.test_engine)
    preferences.address = "not an address"
    assert "expected host:port" in refused(bpy.ops.teamwork.test_engine)
    preferences.address = "203.0.113.1:7000"
    sentence = refused(bpy.ops.teamwork.test_engine)
    assert "Allow Online Access" in sentence or "public key" in sentence


def test_the_command_for_the_other_computer_has_our_key(preferences):
    from blender_addon.wire import Credentials

    assert bpy.ops.teamwork.copy_key() == {"FINISHED"}
    assert len(Credentials.local().client.public) == 40
