# SPDX-License-Identifier: GPL-3.0-or-later
"""Several materials for one place: take one, let the others go."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from .. import candidates, history
from ..images import ImageError
from .base import spoken


def _found(name: str) -> bpy.types.Material:
    """Raises `ImageError`."""
    material = bpy.data.materials.get(name)
    if material is None:
        raise ImageError(f"There is no material named {name!r} any more: choose another.")
    return material


class TEAMWORK_OT_choose_candidate(bpy.types.Operator):
    """Put this material wherever one of the other candidates is now; they stay in the file"""

    bl_idname = "teamwork.choose_candidate"
    bl_label = "Choose Candidate"
    bl_options = {"REGISTER", "UNDO"}

    material: StringProperty(name="Material", description="The candidate's name")

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Swap it in."""
        self.report({"INFO"}, candidates.choose(_found(self.material), context.object))
        return {"FINISHED"}


class TEAMWORK_OT_keep_candidate(bpy.types.Operator):
    """Remove the other candidates and their maps from the file; where they were, this material is put"""

    bl_idname = "teamwork.keep_candidate"
    bl_label = "Keep Only This"
    bl_options = {"REGISTER", "UNDO"}

    material: StringProperty(name="Material", description="The candidate's name")

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove the others."""
        count = candidates.keep_only(_found(self.material))
        history.forget()
        self.report({"INFO"}, f"Removed {count} other candidate{'' if count == 1 else 's'}")
        return {"FINISHED"}


CLASSES = (TEAMWORK_OT_choose_candidate, TEAMWORK_OT_keep_candidate)
