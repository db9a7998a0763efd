# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: start or connect, test, stop."""

from __future__ import annotations

import time

import bpy

from .. import jobs
from ..engine import LINK, EngineError

TEST_SECONDS = 15.0


class TEAMWORK_OT_connect(bpy.types.Operator):
    """Start the engine of this computer, or connect to the one in the preferences"""

    bl_idname = "teamwork.connect"
    bl_label = "Start Engine"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Connect; the panel shows how it went."""
        try:
            LINK.get()
        except EngineError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if not bpy.app.background and not bpy.app.timers.is_registered(jobs.tick):
            bpy.app.timers.register(jobs.tick, first_interval=jobs.TICK_SECONDS)
        return {"FINISHED"}


class TEAMWORK_OT_test_engine(bpy.types.Operator):
    """Ask the engine who it is, and say what is wrong if it does not answer"""

    bl_idname = "teamwork.test_engine"
    bl_label = "Test"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Wait for the engine's welcome."""
        try:
            session = LINK.get()
        except EngineError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        deadline = time.monotonic() + TEST_SECONDS
        while LINK.welcome is None and session.alive and time.monotonic() < deadline:
            jobs.tick()
            time.sleep(0.02)
        jobs.tick()
        return self._say()

    def _say(self) -> set[str]:
        if LINK.welcome is None:
            self.report({"ERROR"}, LINK.problem or f"The engine did not answer within {TEST_SECONDS:.0f} s.")
            return {"CANCELLED"}
        models = ", ".join(model.name for model in LINK.welcome.models) or "none"
        self.report({"INFO"}, f"The engine answers: {LINK.welcome.device}; models: {models}")
        return {"FINISHED"}


class TEAMWORK_OT_disconnect(bpy.types.Operator):
    """End the connection, and the engine too if this Blender has started it"""

    bl_idname = "teamwork.disconnect"
    bl_label = "Stop Engine"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Stop; running jobs end with a sentence."""
        LINK.disconnect()
        jobs.tick()
        return {"FINISHED"}


CLASSES = (TEAMWORK_OT_connect, TEAMWORK_OT_test_engine, TEAMWORK_OT_disconnect)
