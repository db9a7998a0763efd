# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user has set in the add-on's preferences, and the defaults where the add-on was registered without any."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from .wire import full_address


HERE, ELSEWHERE = "HERE", "ELSEWHERE"


@dataclass(frozen=True)
class EngineSettings:
    """Where the engine is: `elsewhere` at an `address`, or on this computer, started when it is needed.

    `python` is an environment that was made by hand; `base`, `source` and `index` are for making one.
    """

    elsewhere: bool = False
    address: str = ""
    public_key: str = ""
    python: str = ""
    device: str = "auto"
    timeout: float = 10.0
    base: str = ""
    source: str = ""
    index: str = ""

    @property
    def engine(self) -> tuple[str, str]:
        """What tells one engine from another."""
        return (self.address, self.public_key) if self.elsewhere else (self.python, self.device)


def engine_settings() -> EngineSettings:
    """The preferences' values, each checked only where it is used."""
    addon = bpy.context.preferences.addons.get(__package__)
    chosen = addon.preferences if addon else None
    if chosen is None:
        return EngineSettings()
    return EngineSettings(
        elsewhere=chosen.place == ELSEWHERE,
        address=chosen.address.strip(),
        public_key=chosen.public_key.strip(),
        python=_path(chosen.engine_python),
        device=chosen.device,
        timeout=chosen.timeout,
        base=_path(chosen.base_python),
        source=chosen.source.strip() if "://" in chosen.source else _path(chosen.source),
        index=chosen.index.strip() if "://" in chosen.index else _path(chosen.index),
    )


def _path(text: str) -> str:
    """What a file chooser gave; it may be relative to the .blend file."""
    return bpy.path.abspath(text.strip())


def stays_here(address: str) -> bool:
    """Is this the address of this very computer? Only then nothing leaves it."""
    host = full_address(address).removeprefix("tcp://").rpartition(":")[0]
    return host in ("127.0.0.1", "[::1]")
