# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a picture, or of all maps of a material together, made anew; and the mask that says which."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import bpy
from bpy.props import BoolProperty, StringProperty

from .. import images, jobs, landing, masks, rewriting
from ..creation_options import InpaintOptions
from ..images import ImageError
from ..job import ERASED_IN
from ..material_maps import maps_of
from ..target import Target
from ..wire import ChannelImage
from .base import ImageOperator, spoken

ERASERS = ("Erase Hard", "Erase Soft")
BRUSHES = "brushes/essentials_brushes-mesh_texture.blend/Brush/"
TOOL = "builtin.brush"
WAIT_SECONDS = 0.02


def chosen_material(context: bpy.types.Context, name: str) -> bpy.types.Material:
    """The material of that name, or the active one. Raises `ImageError`."""
    found = bpy.data.materials.get(name) if name else getattr(getattr(context, "object", None), "active_material", None)
    if found is None:
        raise ImageError(f"There is no material named {name!r}: choose another." if name else "The active object has no material.")
    return found


class TEAMWORK_OT_inpaint(InpaintOptions, ImageOperator):
    """Make the masked part of a picture anew, or that of all maps of a material, so that they fit each other"""

    bl_idname = "teamwork.inpaint"
    bl_label = "Inpaint"

    material: StringProperty(name="Material", description="Instead of a picture: all image maps of this material", options={"SKIP_SAVE"})
    active_material: BoolProperty(
        name="Active Material", description="Instead of a picture: all image maps of the active object's material", options={"SKIP_SAVE"}
    )
    mask: StringProperty(name="Mask", description="Name of the image that is the mask; empty takes what is erased in the picture")

    def send(self, context: bpy.types.Context) -> jobs.Job:
        """Send what is known, and the mask; the same channels come back."""
        if self.material or self.active_material:
            return self._send_material(chosen_material(context, self.material))
        picture = self._source(context)
        channel = str(picture.get(landing.PREFIX + "channel", "")) or "image"
        channel = "image" if channel == "residual" else channel  # light, like a picture's; models know no holes in it
        if channel == "height":  # it is made from normals
            raise ImageError(f"{picture.name} is a height map, which is inpainted along with normals: inpaint its material instead.")
        old = {channel: Target.of_datablock(picture, "images")}
        job = self._send({channel: picture}, picture, picture.name, partial(landing.land_inpainted_image, old=old))
        self.keep(picture)
        return job

    def settings_of(self, job: jobs.Job) -> dict[str, Any]:
        """As for any job; a material by its name."""
        source, chosen = job.land.keywords["source"], super().settings_of(job)
        of_material = bool(self.material or self.active_material)
        named = {"material": source if of_material else "", "image": "" if of_material else source, "active_material": False}
        return chosen | named | {ERASED_IN: self._erased_in}

    def job_options(self) -> dict[str, Any]:
        """What goes along with the job."""
        return super().job_options() | {"repeats": self.repeats, "seamless": int(self.borders_meet)}

    def _send_material(self, material: bpy.types.Material) -> jobs.Job:
        maps = maps_of(material)
        if "normals" not in maps:
            maps.pop("height", None)  # it is made from normals
        if not maps:
            raise ImageError(f"The material {material.name} has a height map alone, which cannot be inpainted without normals.")
        old = {channel: Target.of_datablock(image, "images") for channel, image in maps.items()}
        land = partial(landing.land_inpainted_material, target=Target.of_datablock(material, "materials"), old=old)
        return self._send(maps, max(maps.values(), key=lambda image: tuple(image.size)), material.name, land)

    def _send(self, maps: dict[str, bpy.types.Image], largest: bpy.types.Image, source: str, land) -> jobs.Job:
        mask = masks.read_mask(images.find(self.mask) if self.mask else None, self.mask_from, largest)
        self._erased_in = "" if self.mask else next(channel for channel, image in maps.items() if image == largest)
        inputs: dict[str, ChannelImage] = {channel: self._read(image, channel) for channel, image in maps.items()}
        land = partial(land, name=source, source=source, replace=self.replace)
        return jobs.start("inpaint", self.model, inputs | {"mask": mask}, (), self.job_options(), f"Inpaint {source}", land)

    def _read(self, image: bpy.types.Image, channel: str) -> ChannelImage:
        """Its colours without alpha in them: what is half erased would be dark else."""
        return images.read_channel(image, channel, straight=images.premultiplied(image, channel == self._erased_in))

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """A material needs no picture."""
        return self.execute(context) if self.material or self.active_material else super().invoke(context, event)


class TEAMWORK_OT_paint_mask(bpy.types.Operator):
    """Make a mask of the picture's size and paint it: the picture shows through, and what you erase is made anew"""

    bl_idname = "teamwork.paint_mask"
    bl_label = "Paint Mask"
    bl_options = {"REGISTER", "UNDO"}

    image: StringProperty(name="Image", description="Name of the picture; empty takes the one that is shown", options={"SKIP_SAVE"})
    active_material: BoolProperty(
        name="Active Material", description="Show the base colour of the active material", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Take the picture's pixels; what becomes of them is made beside Blender's main thread, and waited for by a timer."""
        return self._wait(context)

    @spoken
    def _wait(self, context: bpy.types.Context) -> set[str]:
        self._begin(context)
        self._timer = context.window_manager.event_timer_add(WAIT_SECONDS, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Everything else goes on meanwhile."""
        if event.type != "TIMER" or not self._canvas.ready():
            return {"PASS_THROUGH"}
        self.cancel(context)
        return self._end(context)

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends it, to load another file, say: nothing is left."""
        context.window_manager.event_timer_remove(self._timer)

    @spoken
    def execute(self, context: bpy.types.Context) -> set[str]:
        """The same for scripts, which wait."""
        self._begin(context)
        return self._end(context)

    def _begin(self, context: bpy.types.Context) -> None:
        picture = self._picture(context)
        self._name, self._canvas = picture.name, rewriting.Canvas(f"{picture.name} mask", picture)

    @spoken
    def _end(self, context: bpy.types.Context) -> set[str]:
        """Choose the mask in the panel, and go over to painting where there is an Image Editor."""
        settings = context.scene.teamwork
        settings.mask, settings.mask_from = self._canvas.image(), masks.ERASED
        if not self.active_material and settings.picture is None:
            settings.picture = bpy.data.images.get(self._name)  # the editor shows the mask from now on
        told = "Erase what shall be made anew" if show_for_painting(context, settings.mask) else "Open it in an Image Editor and erase"
        self.report({"INFO"}, f"Made the mask {settings.mask.name}. {told}")
        return {"FINISHED"}

    def _picture(self, context: bpy.types.Context) -> bpy.types.Image:
        if self.active_material:
            return next(iter(maps_of(chosen_material(context, "")).values()))
        shown = images.find(self.image) if self.image else getattr(context.space_data, "image", None)
        if shown is None:
            raise ImageError("No picture was chosen: open one in the Image Editor.")
        return shown


def show_for_painting(context: bpy.types.Context, mask: bpy.types.Image) -> bool:
    """Show the mask in an Image Editor, in paint mode and with an eraser; False if there is none on this screen."""
    areas = context.window.screen.areas if context.window else ()
    area = next((each for each in (context.area, *areas) if each is not None and each.type == "IMAGE_EDITOR"), None)
    if area is None:
        return False
    area.spaces.active.image = mask
    area.spaces.active.ui_mode = "PAINT"
    _take_eraser(context, area)
    return True


def _take_eraser(context: bpy.types.Context, area: bpy.types.Area) -> None:
    """From 4.3 on an eraser is among Blender's own brushes; before that the brush at hand is told to erase.

    An editor that has not painted yet has no tool before Blender's next turn, and taking a brush without one crashes it: so
    the tool comes first.
    """
    region = next(each for each in area.regions if each.type == "WINDOW")
    # without an override where none is needed: operators in one are not safe beside other threads of Python 3.11
    with nullcontext() if context.area == area else context.temp_override(area=area, region=region):
        with suppress(RuntimeError):
            bpy.ops.wm.tool_set_by_id(name=TOOL, space_type="IMAGE_EDITOR")
        for name in ERASERS if hasattr(bpy.ops.brush, "asset_activate") and bpy.app.version >= (4, 3) else ():
            try:
                bpy.ops.brush.asset_activate(asset_library_type="ESSENTIALS", relative_asset_identifier=BRUSHES + name)
                return
            except RuntimeError:  # this Blender has no brush of that name
                continue
    brush = context.tool_settings.image_paint.brush
    if brush is not None:
        brush.blend = "ERASE_ALPHA"


CLASSES = (TEAMWORK_OT_inpaint, TEAMWORK_OT_paint_mask)
