# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: start or connect, test, free its memory, stop. In a window nothing waits: the panel shows how it went."""

from __future__ import annotations

import time
from collections.abc import Callable

import bpy

from .. import jobs
from ..engine import LINK
from .base import spoken

ANSWER_SECONDS = 45.0


def _wait_until(answered: Callable[[], object]) -> None:
    """In background mode: act on what the engine says until then, or until it is lost."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while not answered() and not LINK.problem and time.monotonic() < deadline:
        jobs.drain()
        time.sleep(0.01)


class TEAMWORK_OT_connect(bpy.types.Operator):
    """Start the engine of this computer, or connect to the one in the preferences"""

    bl_idname = "teamwork.connect"
    bl_label = "Start Engine"

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Connect; the panel shows how it went."""
        LINK.get()
        jobs.follow()
        return {"FINISHED"}


class TEAMWORK_OT_test_engine(bpy.types.Operator):
    """Ask the engine anew who it is; the panel tells, or says what is wrong"""

    bl_idname = "teamwork.test_engine"
    bl_label = "Test"

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Connect anew unless jobs run. In background mode, wait for the engine's welcome and report it."""
        jobs.drain()
        if not jobs.running():
            LINK.follow_preferences()
            LINK.hang_up()
        LINK.get()
        jobs.follow()
        return self._report() if bpy.app.background else {"FINISHED"}

    def _report(self) -> set[str]:
        _wait_until(lambda: LINK.welcome)
        if LINK.welcome is None:
            self.report({"ERROR"}, LINK.problem or f"The engine did not answer within {ANSWER_SECONDS:.0f} s.")
            return {"CANCELLED"}
        models = ", ".join(model.name for model in LINK.welcome.models) or "none"
        self.report({"INFO"}, f"The engine answers: {LINK.welcome.device}; models: {models}")
        return {"FINISHED"}


class TEAMWORK_OT_unload(bpy.types.Operator):
    """Have the engine free all memory of its models; the next job loads them again"""

    bl_idname = "teamwork.unload"
    bl_label = "Free Memory"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there is an engine, and no job of ours that needs its models."""
        return LINK.connected and not jobs.running()

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask for it. In background mode, wait for the answer and report it."""
        LINK.unload()
        jobs.follow()
        return self._report() if bpy.app.background else {"FINISHED"}

    def _report(self) -> set[str]:
        _wait_until(lambda: LINK.unloaded)
        done = LINK.unloaded is not None and LINK.unloaded.done
        sentence = LINK.unloaded.sentence if LINK.unloaded else LINK.problem or "The engine did not answer."
        self.report({"INFO" if done else "ERROR"}, sentence)
        return {"FINISHED"} if done else {"CANCELLED"}


class TEAMWORK_OT_disconnect(bpy.types.Operator):
    """End the connection, and the engine too if this Blender has started it"""

    bl_idname = "teamwork.disconnect"
    bl_label = "Stop Engine"

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Stop; running jobs end with a sentence."""
        LINK.disconnect()
        jobs.drain()
        return {"FINISHED"}


CLASSES = (TEAMWORK_OT_connect, TEAMWORK_OT_test_engine, TEAMWORK_OT_unload, TEAMWORK_OT_disconnect)
