# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs: cancel one; those that an earlier Blender has left behind."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from .. import jobs, recovery
from ..engine import LINK
from .base import spoken

WAIT_SECONDS = 600.0


class TEAMWORK_OT_cancel(bpy.types.Operator):
    """End the job within one step"""

    bl_idname = "teamwork.cancel"
    bl_label = "Cancel"

    job: StringProperty(name="Job", description="Which job; empty ends all of them")

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the engine for the end of the job."""
        for job in jobs.running():
            if not self.job or job.job_id == self.job:
                jobs.cancel(job)
        return {"FINISHED"}


class TEAMWORK_OT_fetch_results(bpy.types.Operator):
    """Bring the results of an earlier Blender, which the engine has kept, into this file"""

    bl_idname = "teamwork.fetch_results"
    bl_label = "Fetch Earlier Results"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where some wait."""
        return LINK.connected and bool(recovery.State.offered)

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Follow them as jobs; in background mode, wait for their ends."""
        recovery.fetch_offered()
        jobs.follow()
        for job in jobs.running() if bpy.app.background else ():
            jobs.wait(job, WAIT_SECONDS)
        return {"FINISHED"}


class TEAMWORK_OT_forget_results(bpy.types.Operator):
    """Let the engine drop the results of an earlier Blender"""

    bl_idname = "teamwork.forget_results"
    bl_label = "Forget Earlier Results"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where some wait."""
        return LINK.connected and bool(recovery.State.offered)

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Forget them."""
        recovery.forget_offered()
        return {"FINISHED"}


CLASSES = (TEAMWORK_OT_cancel, TEAMWORK_OT_fetch_results, TEAMWORK_OT_forget_results)
