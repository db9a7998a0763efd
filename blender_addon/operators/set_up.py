# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the engine's environment from Blender, and what a remote engine's owner needs to know."""

from __future__ import annotations

import time

import bpy
from bpy.props import FloatProperty

from .. import jobs, setting_up
from ..wire import Credentials
from .base import spoken


class TEAMWORK_OT_set_up(bpy.types.Operator):
    """Make the engine's own Python environment in your data folder, with PyTorch for this computer. Blender's Python stays as it is"""

    bl_idname = "teamwork.set_up"
    bl_label = "Set Up Engine"

    timeout: FloatProperty(
        name="Timeout", description="In background mode: seconds to wait for the end", min=1.0, default=3600.0
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One at a time."""
        return setting_up.running() is None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """It takes minutes and room, so ask first."""
        return context.window_manager.invoke_confirm(
            self,
            event,
            title="Set up the engine?",
            message="Downloads about 1 GB, with an NVIDIA GPU 4 GB. You can go on working, and cancel at any time.",
            confirm_text="Set Up",
        )

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Begin; the panel shows how far it is. In background mode, wait for it and report."""
        setup = setting_up.start()
        jobs.follow()
        if not bpy.app.background:
            return {"FINISHED"}
        if not setup.wait(self.timeout):
            setup.cancel()
            self.report({"ERROR"}, f"The set-up did not finish within {self.timeout:.0f} s and was cancelled.")
            return {"CANCELLED"}
        done = setup.state == "done"
        self.report({"INFO" if done else "ERROR"}, setup.sentence)
        return {"FINISHED"} if done else {"CANCELLED"}


class TEAMWORK_OT_cancel_set_up(bpy.types.Operator):
    """End the set-up; what is there is kept, and the next one goes on with it"""

    bl_idname = "teamwork.cancel_set_up"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """While one runs."""
        return setting_up.running() is not None

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Tell it to end."""
        setting_up.cancel()
        return {"FINISHED"}


class TEAMWORK_OT_copy_key(bpy.types.Operator):
    """Copy the command that lets another computer's engine answer this one; run it there"""

    bl_idname = "teamwork.copy_key"
    bl_label = "Copy Command for the Other Computer"

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """This computer's public key, inside the command, to the clipboard."""
        key = Credentials.local().client.public
        context.window_manager.clipboard = f"python -m engine_server keys add {time.strftime('blender-%Y%m%d')} '{key}'"
        self.report({"INFO"}, "Copied: run it on the computer of the engine")
        return {"FINISHED"}


CLASSES = (TEAMWORK_OT_set_up, TEAMWORK_OT_cancel_set_up, TEAMWORK_OT_copy_key)
