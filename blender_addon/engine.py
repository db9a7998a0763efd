# SPDX-License-Identifier: GPL-3.0-or-later
"""The one engine that this Blender talks to: found, started or reached, and its state in words."""

from __future__ import annotations

import threading
from collections.abc import Callable

import bpy

from . import launcher
from .events import Unloaded
from .session import Session
from .settings import EngineSettings, engine_settings, stays_here
from .wire import Credentials, ModelInfo, Welcome, WireError


class EngineError(Exception):
    """There is no engine to talk to; the text is one sentence with the fix."""


class Link:
    """The session with the engine, and the engine's process if we have started it."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.started: launcher.Engine | None = None
        self.welcome: Welcome | None = None
        self.unloading, self.unloaded = False, None
        self.problem = ""
        self.engine_key = ""
        self._chosen = ("", "")
        self._starting = threading.Lock()  # a render asks for the engine from its own thread

    @property
    def connected(self) -> bool:
        """Is there a session that has not been lost?"""
        return self.session is not None and self.session.alive

    @property
    def moved(self) -> bool:
        """Do the preferences name another engine by now, or another device for ours?"""
        return self.connected and engine_settings().engine != self._chosen

    @property
    def waiting(self) -> bool:
        """Has the engine yet to answer our hello, or our wish that it frees its memory?"""
        unanswered = self.welcome is None or (self.unloading and self.unloaded is None)
        return self.session is not None and unanswered and not self.problem

    def get(self) -> Session:
        """The session, newly made if there is none. Starts the engine of this computer if it does not run.

        Raises `EngineError`.
        """
        if not self.connected:
            self.hang_up()
            self.problem = ""
            try:
                address, credentials, timeout = self.route()
                self._chosen = engine_settings().engine
                self.engine_key = credentials.engine_public
                self.session = Session(address, credentials, timeout=timeout)
            except (EngineError, WireError, launcher.LaunchError) as error:
                self.problem = str(error)
                raise EngineError(self.problem) from error
        return self.session

    def route(self) -> tuple[str | Callable[[], str], Credentials, float]:
        """How to reach the engine: its address, or a function that waits until one of our own has started and gives
        it; our credentials; seconds of silence after which it counts as lost. May be called from a render's thread.

        Raises `EngineError`, `WireError` (no usable keys) or `LaunchError`.
        """
        settings = engine_settings()
        if not settings.elsewhere:
            return self._own_engine(settings), Credentials.local(), settings.timeout
        if not settings.address:
            raise EngineError("Enter the engine's address in the preferences, or choose the engine of this computer there.")
        if stays_here(settings.address) and not settings.public_key:
            return settings.address, Credentials.local(), settings.timeout
        _require_network(settings.address)
        if not settings.public_key:
            raise EngineError("An engine on another computer needs its public key: enter it in the preferences.")
        return settings.address, Credentials.remote(settings.public_key), settings.timeout

    def _own_engine(self, settings: EngineSettings) -> Callable[[], str]:
        """Gives the address of this computer's engine; one that has to start is waited for where it is called."""
        with self._starting:
            running = launcher.find_engine()
            if running is not None:
                return lambda: running.address
            engine = self.started
            if engine is None or not engine.running or engine.record is not None:
                self._stop_engine()
                python = launcher.find_python(settings.python)
                device = launcher.find_device(settings.device, python)
                engine = self.started = launcher.spawn_engine(python, device=device, warm=True)
            return lambda: engine.wait().address

    def unload(self) -> None:
        """Ask the engine to free its memory; `unloaded` holds the answer when it is here. Raises `EngineError`."""
        self.unloading, self.unloaded = True, None
        self.get().unload()

    def on_unloaded(self, answer: Unloaded) -> None:
        """The engine has freed its memory, or says why not."""
        self.unloading, self.unloaded = False, answer

    def model(self, name: str) -> ModelInfo | None:
        """What the engine says about a model that it offers."""
        models = self.welcome.models if self.welcome else ()
        return next((model for model in models if model.name == name), None)

    def lost(self, sentence: str, mismatch: bool = False) -> None:
        """The session has ended by itself. What another Blender has started cannot be updated from here."""
        if mismatch and self.started is None and not engine_settings().elsewhere:
            sentence += " It ran already, as another Blender's perhaps: quit that one first."
        self.problem, self.welcome = sentence, None

    def disconnect(self) -> None:
        """End the session, and the engine if it is ours."""
        self._stop_engine()  # first, so that a session that waits for its start ends at once
        self.hang_up()
        self.problem = ""

    def _stop_engine(self) -> None:
        if self.started is not None:
            self.started.stop()
        self.started = None

    def follow_preferences(self) -> None:
        """Leave an engine that the preferences do not name any more. Not while jobs run."""
        if self.moved:
            self.disconnect()

    def hang_up(self) -> None:
        """End the session only; the engine goes on."""
        if self.session is not None:
            self.session.close()
        self.session = self.welcome = None

    def state(self) -> str:
        """One line for the panel."""
        if self.connected and self.welcome:
            device = self.welcome.device
            return f"Ready, on {'the CPU' if device == 'cpu' else device}"
        if self.connected:
            starts = self.started is not None and self.started.record is None
            return "The engine starts ..." if starts else "Connecting ..."
        return self.problem or "Not running"


def _require_network(address: str) -> None:
    if stays_here(address) or bpy.app.online_access:
        return
    raise EngineError(f"The engine at {address} is on another computer: {how_to_go_online()}, or use this one.")


def how_to_go_online() -> str:
    """What the user does to let Blender use the network."""
    if bpy.app.online_access_override:
        return "start Blender without --offline-mode"
    return "turn on Preferences, System, Allow Online Access"


LINK = Link()
