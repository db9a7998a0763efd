# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets of the tasks' settings, with Blender's own preset system: they are files in the user's preset folder."""

from __future__ import annotations

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

from .creation_options import INPAINT, SYNTHESIS
from .material_options import GIVEN_OPTIONS
from .material_options import OPTIONS as MATERIAL

COMMON = ("model", "seed", "steps", "size")
STORED = {
    "material": ("Material from Photo", (*COMMON, *MATERIAL)),
    "decompose": ("Decompose Image", COMMON),
    "synthesize": ("Synthesize", (*COMMON, *SYNTHESIS, *GIVEN_OPTIONS, "apply")),
    "inpaint": ("Inpaint", (*COMMON, *INPAINT)),
    "render": ("Neural Render", (*COMMON, "view", "samples")),
}
"""For each task its title, and the settings that a preset holds."""


def _operator(name: str, title: str, stored: tuple[str, ...]) -> type:
    """What adds or removes a preset."""
    body = {
        "__doc__": f"Keep the present settings of {title} under a name, or remove the chosen preset",
        "bl_idname": f"teamwork.{name}_preset_add",
        "bl_label": "Add Preset",
        "preset_menu": f"TEAMWORK_PT_{name}_presets",
        "preset_defines": ["settings = bpy.context.scene.teamwork"],
        "preset_values": [f"settings.{each}" for each in stored],
        "preset_subdir": f"teamwork/{name}",
    }
    return type(f"TEAMWORK_OT_{name}_preset_add", (AddPresetBase, bpy.types.Operator), body)


def _panel(name: str, title: str) -> type:
    """The list of presets in a panel's header."""
    body = {
        "__doc__": f"Settings of {title} that were kept under a name",
        "bl_label": f"{title} Presets",
        "preset_subdir": f"teamwork/{name}",
        "preset_operator": "script.execute_preset",
        "preset_add_operator": f"teamwork.{name}_preset_add",
    }
    return type(f"TEAMWORK_PT_{name}_presets", (PresetPanel, bpy.types.Panel), body)


PRESETS = {name: _panel(name, title) for name, (title, _) in STORED.items()}
"""The preset panel of each task."""
OPERATORS = tuple(_operator(name, title, stored) for name, (title, stored) in STORED.items())
"""What adds to them."""
