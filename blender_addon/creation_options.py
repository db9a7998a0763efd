# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of what is made from nothing or made anew: the operators have them, and the panels keep them with the scene."""

from __future__ import annotations

from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty
from bpy.types import Image

from .masks import ERASED, KINDS
from .material_options import GIVEN

MATERIAL, IMAGE = "MATERIAL", "IMAGE"
WHAT = (
    (MATERIAL, "Material", "A Principled material with all its maps", "MATERIAL", 0),
    (IMAGE, "Image", "A picture, with albedo, normals and whatever other channels the model makes", "IMAGE_DATA", 1),
)
WHY_DEPTH = "A depth map that you have already, nearer is less: models that can look at it make the picture to it"
GIVEN_TO_PICTURES = {setting: channel for setting, channel in GIVEN.items() if channel != "height"} | {"given_depth": "depth"}
"""What can be given for a picture, as `GIVEN` is for a material."""


def given_for(what: str) -> dict[str, str]:
    """Names of the settings that name an image for a channel, and the channels."""
    return GIVEN if what == MATERIAL else GIVEN_TO_PICTURES


class GivenDepthName:
    """Mixed into the operator."""

    given_depth: StringProperty(name="Depth", description=WHY_DEPTH)


class GivenDepthImage:
    """Mixed into the panel's settings."""

    given_depth: PointerProperty(name="Depth", description=WHY_DEPTH, type=Image)


class SynthesisOptions:
    """Annotations only; mixed into the operator and the panel's settings."""

    what: EnumProperty(name="Make", description="What comes out", items=WHAT, default=MATERIAL)
    prompt: StringProperty(name="Prompt", description="What it shall be, in words, for models that read; empty leaves it to the seed")
    negative_prompt: StringProperty(name="Not", description="What it shall not be, in words; takes guidance above 1")
    guidance: FloatProperty(
        name="Guidance", description="How strictly the prompt is followed, 4 to 8 mostly; 0 lets the model choose", min=0.0, max=100.0
    )
    width: IntProperty(
        name="Width", description="Pixels; 0 is what the model was trained for", min=0, max=4096, soft_min=64, subtype="PIXEL"
    )
    height: IntProperty(
        name="Height", description="Pixels; 0 is what the model was trained for", min=0, max=4096, soft_min=64, subtype="PIXEL"
    )
    tiles: BoolProperty(name="Seamless", description="Opposite borders meet, so that it can be repeated; takes longer", default=True)


class InpaintOptions:
    """Annotations only; mixed into the operator and the panel's settings."""

    mask_from: EnumProperty(
        name="Fill Where", description="Which part of the mask is filled with something new", items=KINDS, default=ERASED
    )
    repeats: IntProperty(
        name="Repeats",
        description="How often each step is taken: more fit better into what is known, and take so many times as long",
        min=1,
        max=50,
        default=1,
    )
    replace: BoolProperty(
        name="Replace Original",
        description="The new one is used wherever the original was; the original stays in the file, unused",
        default=False,
    )
    borders_meet: BoolProperty(
        name="Seamless", description="The picture tiles: opposite borders meet, and a hole may lie over them", default=False
    )


SYNTHESIS, INPAINT = (tuple(options.__annotations__) for options in (SynthesisOptions, InpaintOptions))
"""Their names."""
