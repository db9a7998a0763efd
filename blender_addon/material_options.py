# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a material that is made: the operator has them, and the panel keeps them with the scene."""

from __future__ import annotations

from math import radians

from bpy import app
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty
from bpy.types import Image

CHANNELS = (
    ("albedo", "Base Color", "The colour of the surface without light"),
    ("roughness", "Roughness", "How dull the surface is"),
    ("metalness", "Metallic", "Where the surface is metal"),
    ("normals", "Normal", "Relief, as a normal map"),
    ("height", "Height", "Relief, as a height map made from the normals"),
)
AMBIENT, FLASH = "AMBIENT", "FLASH"
CAPTURES = (
    (AMBIENT, "Ambient", "Taken in the light that was there, best under an even sky"),
    (FLASH, "Flash", "Taken straight from above in the dark, with the flash beside the lens, as a phone has it"),
)
TILINGS = ("NONE", "MAKE", "KEEP")
"""As the engine counts them."""
SEAMLESS = (
    ("NONE", "As Taken", "The maps show just what the photo or the given maps show"),
    ("MAKE", "Make Seamless", "Cut what is given so that it tiles; this takes an eighth to a third of its width and height, and longer"),
    ("KEEP", "Is Seamless", "What is given tiles already: the maps shall tile, too, at its full size; takes longer"),
)
NORMAL_MAP, BUMP, DISPLACEMENT = "NORMAL_MAP", "BUMP", "DISPLACEMENT"
RELIEFS = (
    (NORMAL_MAP, "Normal Map", "Light falls as on the relief; the surface stays flat. The height map stands ready beside it"),
    (BUMP, "Bump", "As a normal map, but from the height map, so that the depth of the relief can be changed"),
    (DISPLACEMENT, "Displacement", "The mesh itself is moved; it has to be subdivided. What is finer than the mesh is bump"),
)
GIVEN = {f"given_{channel}": channel for channel, _, _ in CHANNELS}
"""Names of the settings that name an image for a channel, and the channels."""
WHY_GIVEN = "An image for {} that you have already: it goes into the material as it is, and models that can look at it heed it"


class GivenOptions:
    """How maps that are given are taken. Annotations only; mixed into operators and the panel's settings."""

    seamless: EnumProperty(name="Tiling", description="Whether the maps can be repeated without a visible border", items=SEAMLESS)
    height_scale: FloatProperty(
        name="Given Height",
        description="Range of the height map that you give, as a share of the photo's width: normals follow from it",
        subtype="FACTOR",
        min=0.0,
        max=1.0,
        default=0.05,
    )


class MaterialOptions(GivenOptions):
    """Annotations only; mixed into the operator and the panel's settings."""

    channels: EnumProperty(
        name="Maps",
        description="Which maps to make; fewer are faster",
        items=CHANNELS,
        options={"ENUM_FLAG"},
        default={name for name, _, _ in CHANNELS},
    )
    capture: EnumProperty(name="Light", description="How the photo was lit", items=CAPTURES, default=AMBIENT)
    fov: FloatProperty(
        name="Field of View",
        description="From the lower to the upper border of the photo, as the camera saw it. A phone held upright: about 65°, across: 50°",
        subtype="ANGLE",
        min=radians(1.0),
        max=radians(170.0),
        default=radians(50.0),
    )
    relief: EnumProperty(name="Relief", description="How the relief gets into the shader", items=RELIEFS, default=NORMAL_MAP)
    texture_scale: FloatProperty(
        name="Scale", description="How often the maps repeat over the UV square; one value of the material", min=0.001, default=1.0
    )
    picture_width: FloatProperty(
        name="Width of Photo",
        description="What the photo covers in the world: from it follows how deep displacement and bump are",
        unit="LENGTH",
        min=0.0001,
        default=1.0,
    )
    candidates: IntProperty(
        name="Candidates", description="So many materials from seeds in a row, to choose one of them", min=1, max=8, default=1
    )
    apply: BoolProperty(name="Put on Active Object", description="Put the material into the active slot", default=False)
    slot: IntProperty(
        name="Slot", description="Into which material slot of the object, counted from 0; -1 is the active one", min=-1, default=-1
    )
    asset: BoolProperty(
        name="Mark as Asset", description="The Asset Browser shows the material, with a picture of it on a ball", default=False
    )
    folder: StringProperty(
        name="Save Maps To",
        description="Folder for the maps as PNG files, normals and height in 16 bits; empty packs them into the .blend file",
        subtype="DIR_PATH",
        options={"PATH_SUPPORTS_BLEND_RELATIVE"} if app.version >= (5, 0, 0) else set(),
    )


GIVEN_OPTIONS = tuple(GivenOptions.__annotations__)
OPTIONS = (*GIVEN_OPTIONS, *MaterialOptions.__annotations__)
"""Their names."""


class GivenNames:
    """Names of images that are given; mixed into the operator. The panel's settings hold the images themselves."""

    __annotations__ = {
        setting: StringProperty(name=title, description=WHY_GIVEN.format(title))
        for setting, (_, title, _) in zip(GIVEN, CHANNELS, strict=True)
    }


class GivenImages:
    """Images that are given; mixed into the panel's settings."""

    __annotations__ = {
        setting: PointerProperty(name=title, description=WHY_GIVEN.format(title), type=Image)
        for setting, (_, title, _) in zip(GIVEN, CHANNELS, strict=True)
    }
