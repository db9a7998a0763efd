# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operators of all tasks share: their common settings, and how a job is sent and waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import bpy
from bpy.props import FloatProperty, IntProperty, StringProperty

from .. import images, jobs, recovery
from ..engine import EngineError
from ..environment import SetupError
from ..images import ImageError
from ..launcher import LaunchError
from ..passes import PassError
from ..wire import ChannelImage, WireError

log = logging.getLogger(__name__)

MISTAKES = (ImageError, PassError, EngineError, LaunchError, SetupError, WireError)
"""What has a sentence for the user with the fix."""

NOT_KEPT = ("timeout", "filepath", "check_existing")

Execute = Callable[[bpy.types.Operator, bpy.types.Context], set[str]]


def spoken(execute: Execute) -> Execute:
    """Let an operator's `execute` report whatever it raises as one sentence, and be cancelled. Never a traceback."""

    @wraps(execute)
    def guarded(self: bpy.types.Operator, context: bpy.types.Context) -> set[str]:
        try:
            return execute(self, context)
        except MISTAKES as error:
            self.report({"ERROR"}, str(error))
        except Exception as error:
            log.debug("%s failed", self.bl_idname, exc_info=True)
            what = f"{type(error).__name__}: {error}"
            self.report({"ERROR"}, f"{self.bl_label} did not work, which is a fault of Teamwork ({what}).")
        return {"CANCELLED"}

    return guarded


class TaskOperator(bpy.types.Operator):
    """Sends one job. In a window it returns at once; in background mode it waits up to `timeout` seconds."""

    bl_options = {"REGISTER"}

    model: StringProperty(name="Model", description="Which team makes the result", default="nano")
    seed: IntProperty(name="Seed", description="Another seed gives another answer", min=0, default=0)
    steps: IntProperty(name="Steps", description="Denoising steps; 0 lets the model choose", min=0, max=1000, default=0)
    size: IntProperty(
        name="Working Size",
        description="Longest side in pixels at which the network looks at the picture; 0 lets the model choose",
        min=0,
        max=4096,
        default=0,
    )
    timeout: FloatProperty(
        name="Timeout", description="In background mode: seconds to wait for the result", min=1.0, default=600.0
    )

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Send the job, and say in one sentence what is wrong if it cannot be sent."""
        sent = self.send_all(context)
        for job in sent:
            job.operator, job.settings = self.idname(), self.settings_of(job)
            recovery.note(job)
        return self._wait(sent) if bpy.app.background else self._leave(sent)

    def send_all(self, context: bpy.types.Context) -> list[jobs.Job]:
        """Start the job, or all of several; raises one of `MISTAKES`."""
        return [self.send(context)]

    def send(self, context: bpy.types.Context) -> jobs.Job:
        """Start the job; raises one of `MISTAKES`."""
        raise NotImplementedError

    def idname(self) -> str:
        """As scripts call it; what Blender gives an instance is the name of its class."""
        return f"teamwork.{self.bl_idname.split('_OT_')[-1].removeprefix('teamwork.')}"

    def settings_of(self, job: jobs.Job) -> dict[str, Any]:
        """The properties with which the same job can be sent again, as plain JSON values."""
        chosen = self.as_keywords(ignore=NOT_KEPT)
        if "image" in chosen:
            chosen["image"] = job.land.keywords["source"]
        return {name: sorted(value) if isinstance(value, set) else value for name, value in chosen.items()}

    def job_options(self) -> dict[str, Any]:
        """What goes along with the job."""
        return {"seed": self.seed, "steps": self.steps, "size": self.size}

    def _wait(self, sent: list[jobs.Job]) -> set[str]:
        for job in sent:
            jobs.wait(job, self.timeout)
            self.report({"INFO" if job.state == jobs.DONE else "ERROR"}, job.line)
        return {"FINISHED"} if all(job.state == jobs.DONE for job in sent) else {"CANCELLED"}

    def _leave(self, sent: list[jobs.Job]) -> set[str]:
        self.report({"INFO"}, f"{sent[0].title}: sent to the engine")
        return {"FINISHED"}


class ImageOperator(TaskOperator):
    """A task on one image: a file, or an image of this .blend file."""

    filepath: StringProperty(name="File", description="The picture's file", subtype="FILE_PATH", options={"SKIP_SAVE"})
    image: StringProperty(
        name="Image", description="Name of an image in this file, instead of a file", options={"SKIP_SAVE"}
    )

    def picture(self, context: bpy.types.Context) -> tuple[str, str, ChannelImage]:
        """A name for what is made, the image's own name, and its scene-linear pixels. Raises `ImageError`."""
        source = self._source(context)
        name = Path(source.name).stem if source.source == "FILE" else source.name
        pixels = self.pixels_of(source)
        self.keep(source)
        return name, source.name, pixels

    def keep(self, image: bpy.types.Image) -> None:
        """Of a file that was read for this: nothing else has it, and what is made of it may be made again."""
        if self.filepath:
            image.use_fake_user = True

    def pixels_of(self, image: bpy.types.Image) -> ChannelImage:
        """What the engine gets of it. Raises `ImageError`."""
        return images.read_later(image)

    def has_picture(self, context: bpy.types.Context) -> bool:
        """Was one chosen, or is one shown?"""
        return bool(self.filepath or self.image or getattr(context.space_data, "image", None))

    def _source(self, context: bpy.types.Context) -> bpy.types.Image:
        if self.filepath:
            return images.load(self.filepath)
        if self.image:
            return images.find(self.image)
        shown = getattr(context.space_data, "image", None)
        if shown is None:
            raise ImageError("No picture was chosen: open one in the Image Editor, or choose a file.")
        return shown

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for a file, unless an image is at hand."""
        if self.has_picture(context):
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}
