# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user has set in the add-on's preferences, and the defaults where the add-on was registered without any."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from .wire import full_address


@dataclass(frozen=True)
class EngineSettings:
    """Where the engine is: an empty `address` means the engine of this computer, started when it is needed."""

    address: str = ""
    public_key: str = ""
    python: str = ""
    device: str = "cpu"
    timeout: float = 10.0


def engine_settings() -> EngineSettings:
    """The preferences' values, each checked only where it is used."""
    addon = bpy.context.preferences.addons.get(__package__)
    chosen = addon.preferences if addon else None
    if chosen is None:
        return EngineSettings()
    return EngineSettings(
        chosen.address.strip(), chosen.public_key.strip(), chosen.engine_python.strip(), chosen.device, chosen.timeout
    )


def stays_here(address: str) -> bool:
    """Is this the address of this very computer? Only then nothing leaves it."""
    host = full_address(address).removeprefix("tcp://").rpartition(":")[0]
    return host in ("127.0.0.1", "[::1]")
