# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences: where the engine is."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, FloatProperty, StringProperty

from .engine import LINK
from .launcher import LOG
from .wire import home_folder

DEVICES = (
    ("cpu", "CPU", "Works everywhere"),
    ("cuda", "CUDA", "An NVIDIA GPU, or an AMD one with ROCm"),
    ("mps", "Metal", "An Apple GPU"),
)


class TeamworkPreferences(bpy.types.AddonPreferences):
    """What `settings.engine_settings` reads."""

    bl_idname = __package__

    address: StringProperty(
        name="Address", description="host:port of an engine that runs elsewhere; empty for the engine of this computer"
    )
    public_key: StringProperty(
        name="Its Public Key", description="What `python -m engine_server keys show` prints on the other computer"
    )
    engine_python: StringProperty(
        name="Engine's Python", description="The Python that has torch and the engine installed", subtype="FILE_PATH"
    )
    device: EnumProperty(name="Device", description="What the engine of this computer computes on", items=DEVICES)
    timeout: FloatProperty(name="Patience", description="Seconds of silence before an engine counts as lost", default=10.0, min=1.0)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw only; nothing is asked of the engine here."""
        layout = self.layout
        layout.use_property_split = True
        layout.label(text=LINK.state())
        row = layout.row(align=True)
        row.operator("teamwork.connect")
        row.operator("teamwork.test_engine")
        row.operator("teamwork.unload")
        row.operator("teamwork.disconnect")
        row.operator("wm.path_open", text="Show Log").filepath = str(home_folder() / LOG)
        for name in ("engine_python", "device", "address", "public_key", "timeout"):
            layout.prop(self, name)


CLASSES = (TeamworkPreferences,)
