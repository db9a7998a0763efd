# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences: where the engine is, and how it gets there."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, FloatProperty, StringProperty

from . import setting_up
from .drawing import draw_next_step, draw_set_up, say
from .environment import installed, log_file
from .launcher import LOG
from .settings import ELSEWHERE, HERE
from .wire import home_folder

PLACES = (
    (HERE, "On This Computer", "An engine of your own; Blender starts it when it is needed, and it ends with Blender"),
    (ELSEWHERE, "Elsewhere", "An engine that somebody has started, here or on another computer"),
)
DEVICES = (
    ("auto", "Automatic", "The best that this computer has"),
    ("cpu", "CPU", "Works everywhere"),
    ("cuda", "CUDA", "An NVIDIA GPU"),
    ("mps", "Metal", "An Apple GPU"),
)


class TeamworkPreferences(bpy.types.AddonPreferences):
    """What `settings.engine_settings` reads."""

    bl_idname = __package__

    place: EnumProperty(name="Engine", description="Where pictures are computed", items=PLACES)
    address: StringProperty(name="Address", description="host:port of the engine, such as 192.168.1.20:47470")
    public_key: StringProperty(
        name="Its Public Key",
        description="What `python -m engine_server keys show` prints on the other computer; not needed for this one",
    )
    device: EnumProperty(name="Device", description="What the engine of this computer computes on", items=DEVICES)
    engine_python: StringProperty(
        name="Own Environment",
        description="The Python of an environment that you have made yourself; empty for the one that Set Up makes",
        subtype="FILE_PATH",
    )
    base_python: StringProperty(
        name="Made from Python",
        description="A Python of 3.11 to 3.13 to make the environment from; empty finds one",
        subtype="FILE_PATH",
    )
    source: StringProperty(
        name="Engine from",
        description="A wheel, folder or address of the engine's code; empty takes what came with this add-on",
        subtype="FILE_PATH",
    )
    index: StringProperty(
        name="Package Index",
        description="Address of a package index, or a folder with wheels, for computers without the usual ones",
        subtype="FILE_PATH",
    )
    timeout: FloatProperty(
        name="Patience",
        description="How long an engine may be silent before it counts as lost",
        default=10.0,
        min=1.0,
        subtype="TIME_ABSOLUTE",
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw only; nothing is asked of the engine here."""
        layout = self.layout
        layout.use_property_split = True
        layout.row().prop(self, "place", expand=True)
        draw_next_step(layout.box(), context, among_preferences=True)
        if self.place == HERE:
            self._draw_here(layout, context)
        else:
            self._draw_elsewhere(layout)

    def _draw_here(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        layout.prop(self, "device")
        header, body = layout.panel("TEAMWORK_set_up", default_closed=True)
        header.label(text="Environment and Logs")
        if body is None:
            return
        say(body, context, setting_up.describe(installed()))
        draw_set_up(body, context)
        for name in ("engine_python", "base_python", "source", "index", "timeout"):
            body.prop(self, name)
        row = body.row()
        for title, path in (("Set-up Log", log_file()), ("Engine's Log", home_folder() / LOG)):
            part = row.row()
            part.enabled = path.exists()
            part.operator("wm.path_open", text=title).filepath = str(path)

    def _draw_elsewhere(self, layout: bpy.types.UILayout) -> None:
        for name in ("address", "public_key", "timeout"):
            layout.prop(self, name)
        layout.operator("teamwork.copy_key", icon="COPYDOWN")


CLASSES = (TeamworkPreferences,)
