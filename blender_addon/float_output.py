# SPDX-License-Identifier: GPL-3.0-or-later
"""The output settings of a scene, for a while such that a file keeps every value of a render."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import bpy

from .spaces import working

FLOATS = {
    "media_type": "IMAGE",
    "file_format": "OPEN_EXR",
    "color_depth": "32",
    "color_mode": "RGB",
    "exr_codec": "ZIP",
}
"""Settings of a file that keeps every value, in the order in which Blender takes them; the first is there since 5.0. The output's
colour management is not among them: when it becomes an override, Blender puts the scene's own in place of the user's."""


@contextmanager
def writing_floats(settings: bpy.types.ImageFormatSettings) -> Iterator[None]:
    """Exactly what was rendered, scene-linear, and then whatever the user has chosen."""
    light, names = settings.linear_colorspace_settings, [name for name in FLOATS if hasattr(settings, name)]
    kept, space = {name: getattr(settings, name) for name in names}, light.name
    try:
        _set(settings, {name: FLOATS[name] for name in names})
        _light(light, working())  # an override may have another one
        yield
    finally:
        _set(settings, kept)
        _light(light, space)  # it goes with the format


def _light(settings: bpy.types.ColorManagedInputColorspaceSettings, space: str) -> None:
    with suppress(TypeError):  # no such name in this configuration
        settings.name = space


def _set(owner: bpy.types.bpy_struct, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        setattr(owner, name, value)
