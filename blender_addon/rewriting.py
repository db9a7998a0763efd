# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of images in which something is changed and the rest is bit for bit the same; copies to paint on; their alpha.

Of an image in 8 bits Blender holds the file's numbers with straight alpha, of floats premultiplied light or data.
"""

from __future__ import annotations

import bpy
import numpy as np

from .colour import linear_to_srgb, srgb_to_linear
from .images import create, read, read_channel, shows_numbers, three_components
from .storage import DATA, LINEAR, PLAIN, SRGB, STORAGE


def alpha(image: bpy.types.Image) -> np.ndarray:
    """H x W x 1, 0 where an image is transparent, rows from the top. Raises `ImageError` as `read` does."""
    read(image)
    return np.ascontiguousarray(_stored_values(image)[..., 3:])


def _stored_values(image: bpy.types.Image) -> np.ndarray:
    """H x W x 4 as Blender holds them, rows from the top."""
    width, height = image.size
    pixels = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(height, width, image.channels)[::-1]
    whole = np.ones((height, width, 4), np.float32)
    whole[..., :3] = pixels[..., :3] if image.channels >= 3 else pixels[..., :1]
    whole[..., 3:] = pixels[..., 3:4] if image.channels == 4 else 1.0
    return whole


def rewritten(image: bpy.types.Image, name: str, values: np.ndarray, channel: str) -> bpy.types.Image:
    """A packed copy of an image with other wire values of a channel. Pixels of the same values, alpha, colour space and depth
    (8 bits or float) stay as they are."""
    before = read_channel(image, channel).data
    if before.shape[:2] != values.shape[:2]:
        return create(name, values, channel)
    stored, three = _stored_values(image), three_components(values)
    changed = (three != three_components(before)).any(-1)
    stored[changed, :3] = _unread(three[changed], image, channel)
    return _packed(name, stored, image.is_float, image.colorspace_settings.name, image.alpha_mode)


def _unread(values: np.ndarray, image: bpy.types.Image, channel: str) -> np.ndarray:
    """The inverse of `read_channel`, on single pixels."""
    storage = STORAGE.get(channel, PLAIN)
    values = values * 0.5 + 0.5 if storage.signed else values
    numbers, linear = storage.space == DATA, image.is_float or shows_numbers(image)
    if numbers:
        return values if shows_numbers(image) or not image.is_float else srgb_to_linear(values)
    return values if linear else linear_to_srgb(np.clip(values, 0.0, 1.0))


def canvas(name: str, picture: bpy.types.Image) -> bpy.types.Image:
    """An opaque copy of what a picture shows, in 8 bits, to be painted on."""
    values = three_components(read(picture))
    shown = values if picture.colorspace_settings.is_data else linear_to_srgb(np.clip(values, 0.0, 1.0))
    return _packed(name, np.concatenate([shown, np.ones_like(shown[..., :1])], -1), False, SRGB)


def _packed(name: str, stored: np.ndarray, deep: bool, space: str, alpha_mode: str = "STRAIGHT") -> bpy.types.Image:
    height, width = stored.shape[:2]
    made = bpy.data.images.new(name, width, height, alpha=True, float_buffer=deep)
    made.alpha_mode = "PREMUL" if deep else alpha_mode  # floats are held premultiplied, whatever the file has
    made.colorspace_settings.name = DATA if deep else space  # packing a Non-Color image keeps its values exactly
    made.pixels.foreach_set(np.ascontiguousarray(stored[::-1]).reshape(-1))
    made.pack()
    made.colorspace_settings.name = LINEAR if deep and space != DATA else space
    return made
