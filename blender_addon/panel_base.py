# SPDX-License-Identifier: GPL-3.0-or-later
"""What all panels of the Teamwork tab have in common, and those of tasks. Draws only."""

from __future__ import annotations

import bpy

from .drawing import draw_ability, fill, say


def picture_of(context: bpy.types.Context) -> bpy.types.Image | None:
    """The picture that a task works on: the chosen one, else the one that the editor shows."""
    return context.scene.teamwork.picture or getattr(context.space_data, "image", None)


class Panel:
    """A panel of the sidebar's tab; in node editors of one kind of `tree`."""

    bl_region_type = "UI"
    bl_category = "Teamwork"
    tree = ""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """In node editors, only for the kind of tree that it belongs to."""
        return not cls.tree or context.space_data.tree_type == cls.tree


class Task(Panel):
    """A task, as the engine names it: its picture, its button, its presets."""

    bl_options = {"DEFAULT_CLOSED"}
    bl_translation_context = "Teamwork"  # Blender's own word for Inpaint, say, means to paint
    task = ""
    needs = ""
    """What to do first where the button is grey."""
    presets = None

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        """Blender's own presets, where the task has some."""
        if self.presets is not None:
            self.presets.draw_panel_header(self.layout)

    def draw_picture(self, context: bpy.types.Context) -> bpy.types.Image | None:
        """The picture's chooser; gives what will be used."""
        settings, picture = context.scene.teamwork, picture_of(context)
        self.layout.template_ID(settings, "picture", open="image.open")
        if settings.picture is None and picture is not None:
            self.layout.label(text=f"As shown: {picture.name}", icon="IMAGE_DATA")
        return picture

    def draw_button(self, context, operator: str, text: str, icon: str, picture=None, *, ready: bool = True, expected: str = ""):
        """The one large button of a task, and below it how long it will take; a model that cannot do it leaves it grey.
        Gives the button's properties."""
        able = draw_ability(self.layout, context, self.task)
        row = self.layout.row()
        row.scale_y, row.enabled = 1.4, able and ready
        button = row.operator(operator, text=text, icon=icon)
        fill(button, context.scene.teamwork, picture)
        told = expected if ready else self.needs
        if able and told:
            say(self.layout, context, told, "PREVIEW_RANGE" if ready else "INFO")
        return button
