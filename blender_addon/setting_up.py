# SPDX-License-Identifier: GPL-3.0-or-later
"""Setting the engine up from Blender: the one set-up that runs, and in words what is there and what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import bpy

from .engine import LINK, EngineError, how_to_go_online
from .environment import Installed, Plan, Setup, SetupError, installed, is_folder, source
from .launcher import LaunchError, find_python
from .settings import EngineSettings, engine_settings
from .wire import home_folder


class Current:
    """The set-up that runs, or the last that ended; `shown` once its end has been noticed."""

    setup: Setup | None = None
    shown = True


def running() -> Setup | None:
    """The set-up, if it is at work."""
    return Current.setup if Current.setup is not None and Current.setup.running else None


def start() -> Setup:
    """Begin to set up, or to mend what was set up before. The engine that we have started ends: its files change.

    Raises `EngineError` where Blender may not go online, `SetupError` where the engine's code is missing.
    """
    at_work = running()
    if at_work is not None:
        return at_work
    settings = engine_settings()
    source.find(settings.source)
    _require_network(settings)
    LINK.disconnect()
    Current.setup, Current.shown = Setup(_plan(settings)), False
    return Current.setup


def _plan(settings: EngineSettings) -> Plan:
    own = Path(sys.executable) if Path(sys.executable).name.startswith("python") else None
    return Plan(home_folder(), settings.base, settings.source, settings.index, settings.device, own)


def _require_network(settings: EngineSettings) -> None:
    if bpy.app.online_access or is_folder(settings.index):
        return
    raise EngineError(
        f"Setting up downloads packages: {how_to_go_online()}, or choose a folder of wheels as the package index."
    )


def cancel() -> None:
    """End the set-up that runs."""
    if Current.setup is not None:
        Current.setup.cancel()


def take_end() -> bool:
    """True once after a set-up has ended."""
    if Current.shown or running():
        return False
    Current.shown = True
    return True


def missing() -> bool:
    """Is there no Python to start an engine with?"""
    try:
        find_python(engine_settings().python)
    except LaunchError:
        return True
    return False


def outdated() -> bool:
    """Did another version of this add-on set the engine up? Only the wheel that came with the extension can tell."""
    stamp, wheel = installed(), source.bundled_wheel()
    return stamp is not None and wheel is not None and not engine_settings().source and stamp.source != source.find().mark


def describe(stamp: Installed | None) -> str:
    """What is set up, in one line."""
    if stamp is None:
        return "The engine is not set up on this computer yet"
    return f"Set up: engine {stamp.engine}, PyTorch {stamp.torch}, Python {stamp.python}"


__all__ = ["Current", "SetupError", "cancel", "describe", "missing", "outdated", "running", "start"]
