# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of the add-on on what users install: `blender_addon` is the extension from the zip, not the sources."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import tempfile

NAME = "bl_ext.user_default.teamwork"
EXTENSION = os.environ.get("TEAMWORK_TEST_EXTENSION", "")
"""A zip to test in place of the sources."""


def use_extension(archive: str) -> None:
    """Install a zip through Blender's extension system, and let every import of `blender_addon` find what it holds.

    Its entry in the preferences goes: an empty file would end it in the middle of a test, and the tests register the
    add-on themselves.
    """
    import bpy

    bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    package = sys.modules[NAME]
    package.unregister()
    bpy.context.preferences.addons.remove(bpy.context.preferences.addons[NAME])
    package.__addon_enabled__ = False
    sys.modules["blender_addon"] = package
    for module in pkgutil.walk_packages(package.__path__, f"{NAME}."):
        alias = module.name.replace(NAME, "blender_addon", 1)
        sys.modules[alias] = importlib.import_module(module.name)


def as_the_tests_have_it() -> None:
    """For a Blender that a test starts: the same, with a user folder of its own. Before anything imports `bpy`."""
    if EXTENSION:
        os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(dir=os.environ.get("BLENDER_USER_RESOURCES"))
        use_extension(EXTENSION)
