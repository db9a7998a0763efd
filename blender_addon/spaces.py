# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's names of colour spaces: the one that it computes in, and those of images, which other OCIO configurations call
otherwise."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import bpy

from .storage import DATA, LINEAR, SRGB

NAMES = {
    SRGB: (SRGB, "sRGB - Texture", "sRGB Encoded Rec.709 (sRGB)", "Utility - sRGB - Texture"),
    LINEAR: (LINEAR, "Linear Rec.709 (sRGB)", "Utility - Linear - sRGB", "Utility - Linear - Rec.709", "Linear"),
    DATA: (DATA, "Raw", "Utility - Raw"),
}
"""Blender's own name first, then those of the ACES configurations and of Blender before 4.0."""
LIGHT = ("linear", "acescg", "aces2065")
"""In the names of spaces that hold light, whatever the configuration."""


def working() -> str:
    """The space of a file's light: of float images, and of what is rendered. It can be chosen since Blender 5.0."""
    if spaces := getattr(bpy.data, "colorspace", None):
        return spaces.working_space
    return usual(bpy.types.ColorManagedInputColorspaceSettings.bl_rna.properties["name"].enum_items.keys())


def usual(names: Collection[str]) -> str:
    """Of a configuration with spaces of these names, the one that it computes in, where it has just one: Blender's own, or that
    of the ACES configurations."""
    return LINEAR if LINEAR in names else next((name for name in names if name.endswith("ACEScg")), LINEAR)


def tag(image: bpy.types.Image, space: str) -> None:
    """Say what an image's numbers mean. One whose space has none of our names keeps what Blender takes it for."""
    settings = image.colorspace_settings
    for name in NAMES.get(space, (space,)):
        with suppress(TypeError):  # no such name in this configuration
            settings.name = name
            return
    if space == DATA:
        settings.is_data = True


def is_linear(image: bpy.types.Image) -> bool:
    """Are the numbers of its file data or light, and not encoded for a display?"""
    space = image.colorspace_settings
    return space.is_data or any(word in space.name.lower() for word in LIGHT)


def shows_numbers(image: bpy.types.Image) -> bool:
    """Does Blender give shaders the numbers of the file, without taking them for colours or for light of another space?"""
    space = image.colorspace_settings
    return space.is_data or space.name == working()
