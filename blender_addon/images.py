# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender images to arrays and back: the only place that touches `Image.pixels`.

Arrays have their rows from the top, H x W x C float32; colour is scene-linear Rec.709, everything else plain data
(normals: unit vectors -1..1). How each channel is stored in the .blend file:

| channel                                   | stored as                                | colour space    |
|-------------------------------------------|------------------------------------------|-----------------|
| albedo, diffuse, specular                 | 8 bit PNG                                | sRGB            |
| roughness, metalness, mask                | 8 bit PNG                                | Non-Color       |
| normals (n * 0.5 + 0.5), height           | 16 bit PNG                               | Non-Color       |
| image, shading, diffuseshading, residual  | float                                    | Linear Rec.709  |
| depth and the rest                        | float                                    | Non-Color       |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from .colour import finite, linear_to_srgb, srgb_to_linear
from .png import encode_png

SRGB, LINEAR, DATA = "sRGB", "Linear Rec.709", "Non-Color"
LARGEST_SIDE = 16384


class ImageError(Exception):
    """An image cannot be read or made; the text is one sentence for the user."""


@dataclass(frozen=True)
class Storage:
    """How a channel is kept: bits of a PNG, or 0 for floats; its colour space; whether -1..1 is moved to 0..1."""

    bits: int
    space: str
    signed: bool = False


STORAGE = {
    "albedo": Storage(8, SRGB),
    "diffuse": Storage(8, SRGB),
    "specular": Storage(8, SRGB),
    "roughness": Storage(8, DATA),
    "metalness": Storage(8, DATA),
    "mask": Storage(8, DATA),
    "normals": Storage(16, DATA, signed=True),
    "height": Storage(16, DATA),
    "image": Storage(0, LINEAR),
    "shading": Storage(0, LINEAR),
    "diffuseshading": Storage(0, LINEAR),
    "residual": Storage(0, LINEAR),
}
PLAIN = Storage(0, DATA)


def load(path: str | Path) -> bpy.types.Image:
    """The image of a file, as a datablock. Raises `ImageError` if there is none, or nothing that Blender reads."""
    path = Path(bpy.path.abspath(str(path)))
    if not path.is_file():
        raise ImageError(f"There is no file {path}: choose an image file.")
    if path.stat().st_size == 0:
        raise ImageError(f"The file {path.name} is empty: choose another image.")
    known = set(bpy.data.images)
    try:
        image = bpy.data.images.load(str(path), check_existing=True)
    except RuntimeError as error:
        raise ImageError(f"The file {path.name} cannot be read: choose a JPEG, PNG, EXR or another image.") from error
    if 0 in image.size:
        if image not in known:
            bpy.data.images.remove(image)
        raise ImageError(f"The file {path.name} is not an image that Blender can read: choose a JPEG, PNG or EXR.")
    return image


def read(image: bpy.types.Image) -> np.ndarray:
    """H x W x 3 (H x W x 1 for an image with one component) float32, rows from the top.

    Colour comes scene-linear, images tagged Non-Color as they are; alpha is dropped, NaN and infinities become 0.
    Raises `ImageError` for an image without pixels or one that is too large.
    """
    width, height = image.size
    if width == 0 or height == 0:
        raise ImageError(f"The image {image.name} has no pixels: save or reload it first, or choose another.")
    if max(width, height) > LARGEST_SIDE:
        raise ImageError(f"The image {image.name} is {width} x {height}; at most {LARGEST_SIDE} pixels a side can be read.")
    stored = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(stored)
    values = stored.reshape(height, width, image.channels)[::-1]
    values = finite(values[..., :3] if image.channels >= 3 else values[..., :1])
    return np.ascontiguousarray(_linear(values, image))


def _linear(values: np.ndarray, image: bpy.types.Image) -> np.ndarray:
    """Stored values as light. Blender converts the pixels of float images (EXR, also 16 bit PNG) when it loads them;
    those of byte images are as in the file: data, or display-encoded as sRGB is."""
    if image.is_float or image.colorspace_settings.is_data or "linear" in image.colorspace_settings.name.lower():
        return values
    return srgb_to_linear(values)


def create(name: str, array: np.ndarray, channel: str) -> bpy.types.Image:
    """A new image, packed into the .blend file, from H x W x 1 or 3 wire values of a channel (`STORAGE` says how)."""
    storage = STORAGE.get(channel, PLAIN)
    values = finite(array)
    image = _create_png(name, values, storage) if storage.bits else _create_float(name, values)
    image.colorspace_settings.name = storage.space
    return image


def _create_png(name: str, values: np.ndarray, storage: Storage) -> bpy.types.Image:
    image = bpy.data.images.new(name, values.shape[1], values.shape[0], alpha=False)
    data = encode_png(_stored(values, storage), storage.bits)
    image.pack(data=data, data_len=len(data))
    image.source = "FILE"
    return image


def _stored(values: np.ndarray, storage: Storage) -> np.ndarray:
    values = values * 0.5 + 0.5 if storage.signed else values
    return linear_to_srgb(np.clip(values, 0.0, 1.0)) if storage.space == SRGB else values


def _create_float(name: str, values: np.ndarray) -> bpy.types.Image:
    height, width = values.shape[:2]
    image = bpy.data.images.new(name, width, height, alpha=False, float_buffer=True)
    image.colorspace_settings.name = DATA  # packing a Non-Color image keeps its values exactly
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = values[::-1]
    image.pixels.foreach_set(pixels.reshape(-1))
    image.pack()
    return image


def save_png(image: bpy.types.Image, path: str | Path) -> None:
    """Write an image as PNG: the packed PNG itself where there is one, else what the display shows (sRGB, 8 bit).

    Raises `ImageError` if the file cannot be written.
    """
    packed = image.packed_file
    data = bytes(packed.data) if packed and image.file_format == "PNG" else _displayed(image)
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise ImageError(f"The image {path} cannot be written: {error.strerror}.") from error


def _displayed(image: bpy.types.Image) -> bytes:
    values = read(image)
    shown = values if image.colorspace_settings.is_data else linear_to_srgb(np.clip(values, 0.0, 1.0))
    return encode_png(shown)


def find(name: str) -> bpy.types.Image:
    """The image datablock of that name; raises `ImageError` if it is gone."""
    image = bpy.data.images.get(name)
    if image is None:
        raise ImageError(f"There is no image named {name!r} any more: choose another.")
    return image
