# SPDX-License-Identifier: GPL-3.0-or-later
"""What was made: make it again, show how it was made, work on with the same settings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import bpy
from bpy.props import StringProperty

from .. import candidates, history, jobs
from ..images import ImageError
from .base import spoken

LABELS = {"source": "Made from", "size": "Working size", "seconds": "Took", "time": "When"}
OTHER_VERSION = "This was made by another version of the add-on: make it anew from the task's panel."
GONE = "What this was made from is not in this file any more: make it anew from the task's panel."


def _found(job_id: str) -> history.Made:
    """Raises `ImageError`."""
    made = history.find(job_id)
    if made is None:
        raise ImageError(GONE)
    return made


def _arguments(operator, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that the operator still has, as it takes them."""
    known = operator.get_rna_type().properties
    flags = {name for name in settings if name in known and getattr(known[name], "is_enum_flag", False)}
    return {name: set(value) if name in flags else value for name, value in settings.items() if name in known}


def _next_seed(made: history.Made) -> int:
    """One that no candidate for the same place has, which would be made a second time."""
    taken = [each.get(history.PREFIX + "seed", 0) for each in candidates.siblings(made.datablock)]
    return max(int(seed or 0) for seed in (made.facts["seed"], *taken)) + 1


def _same_group(made: history.Made) -> dict[str, str]:
    """What is made again is a candidate for the same place, if its operator knows of such groups."""
    if "group" not in made.settings:
        return {}
    group = str(made.settings["group"] or made.job_id)
    made.datablock[history.PREFIX + "group"] = group
    return {"group": group}


def _same_place(context: bpy.types.Context, made: history.Made) -> dict[str, Any]:
    """It goes on the active object only where that has the result, or a candidate for the same place: the one that is active now
    may be another, with a material of its own."""
    if not made.settings.get("apply"):
        return {}
    active, result = getattr(getattr(context, "object", None), "active_material", None), made.datablock
    there = active is not None and (active == result or active in candidates.siblings(result))
    return {"apply": there, "slot": -1}


def _check_scene(context: bpy.types.Context, made: history.Made) -> None:
    """Raises `ImageError` for the render of a scene that is there but not the one at work, which would be rendered instead."""
    source = str(made.facts["source"])
    if made.facts["task"] == "shade" and source in bpy.data.scenes and source != context.scene.name:
        raise ImageError(f"This was rendered from the scene {source}: go to that scene first.")


class TEAMWORK_OT_regenerate(bpy.types.Operator):
    """Make this again with the next seed: another answer to the same question, beside the first"""

    bl_idname = "teamwork.regenerate"
    bl_label = "Regenerate"

    job: StringProperty(name="Job", description="The job that made it")

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Call the operator that made it."""
        made = _found(self.job)
        operator = getattr(bpy.ops.teamwork, made.operator.removeprefix("teamwork."))
        if not made.operator or not hasattr(bpy.types, operator.idname()):
            raise ImageError(OTHER_VERSION)
        _check_scene(context, made)
        settings = made.settings | {"seed": _next_seed(made)} | _same_group(made) | _same_place(context, made)
        try:
            return operator("EXEC_DEFAULT", **_arguments(operator, settings))
        except (TypeError, ValueError) as error:  # a choice that this version does not have
            raise ImageError(OTHER_VERSION) from error
        except RuntimeError as error:  # what the operator has reported
            raise ImageError(str(error).strip().removeprefix("Error: ")) from error


class TEAMWORK_OT_show_settings(bpy.types.Operator):
    """Show how this was made: model, seed, steps, from what and when"""

    bl_idname = "teamwork.show_settings"
    bl_label = "Show Settings"

    job: StringProperty(name="Job", description="The job that made it")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """As a popup."""
        return context.window_manager.invoke_popup(self, width=320)

    def draw(self, context: bpy.types.Context) -> None:
        """Names and values, and a button that takes them over."""
        made = history.find(self.job)
        if made is None:
            self.layout.label(text=GONE)
            return
        for line in describe(made):
            row = self.layout.split(factor=0.4)
            row.label(text=line[0])
            row.label(text=line[1], translate=False)
        self.layout.operator("teamwork.use_settings", icon="COPYDOWN").job = self.job

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """From a script: report them in one line."""
        self.report({"INFO"}, "; ".join(f"{name}: {value}" for name, value in describe(_found(self.job))))
        return {"FINISHED"}


def describe(made: history.Made) -> list[tuple[str, str]]:
    """What is known of the making, as names and values for people."""
    told = {
        "seconds": f"{float(made.facts['seconds'] or 0):.1f} s",
        "size": made.facts["size"] or "the model's",
        "time": _local(str(made.facts["time"])),
    }
    facts = made.facts | told
    lines = [(LABELS.get(name, name.capitalize()), str(value)) for name, value in facts.items()]
    return [*lines, ("Datablocks", ", ".join(name for _, name in made.names))]


def _local(text: str) -> str:
    """A time as the clock on the wall shows it."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return text


class TEAMWORK_OT_use_settings(bpy.types.Operator):
    """Take model, seed, steps and the other settings of this result over into the panel, for the next job"""

    bl_idname = "teamwork.use_settings"
    bl_label = "Use These Settings"
    bl_options = {"UNDO"}

    job: StringProperty(name="Job", description="The job that made it")

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Fill the panel's settings. What this version does not have stays as it is, and is told."""
        made, settings, unknown = _found(self.job), context.scene.teamwork, []
        for name, value in made.settings.items():
            try:
                self._take(settings, name, value)
            except (TypeError, ValueError):
                unknown.append(settings.bl_rna.properties[name].name)
        if unknown:
            self.report({"WARNING"}, f"Made by another version of the add-on; left as they are: {', '.join(unknown)}")
        picture = bpy.data.images.get(str(made.facts["source"]))
        if picture is not None:
            settings.picture = picture
        return {"FINISHED"}

    def _take(self, settings: bpy.types.PropertyGroup, name: str, value: Any) -> None:
        """Raises `TypeError` or `ValueError` for what it cannot be."""
        prop = settings.bl_rna.properties.get(name)
        if prop is not None and prop.type == "POINTER":
            setattr(settings, name, bpy.data.images.get(str(value)))
        elif prop is not None and not prop.is_readonly:
            setattr(settings, name, set(value) if getattr(prop, "is_enum_flag", False) else value)


class TEAMWORK_OT_clear_history(bpy.types.Operator):
    """Take the lines of ended jobs away; what they have made stays"""

    bl_idname = "teamwork.clear_history"
    bl_label = "Clear"

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Only jobs that run stay listed."""
        jobs.JOBS[:] = jobs.running()
        return {"FINISHED"}


CLASSES = (TEAMWORK_OT_regenerate, TEAMWORK_OT_show_settings, TEAMWORK_OT_use_settings, TEAMWORK_OT_clear_history)
