# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs: cancel one."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from .. import jobs
from .base import spoken


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


CLASSES = (TEAMWORK_OT_cancel,)
