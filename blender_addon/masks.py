# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks of pictures: what is made anew."""

from __future__ import annotations

import bpy
import numpy as np

from . import images, rewriting
from .colour import linear_to_srgb
from .images import ImageError
from .wire import ChannelImage

ERASED, BRIGHT, OPAQUE = "ERASED", "BRIGHT", "OPAQUE"
KINDS = (
    (ERASED, "Erased", "What is transparent is made anew: in the mask, or in the picture itself if there is no mask"),
    (BRIGHT, "White", "What is white in the mask is made anew, black stays, grey mixes both"),
    (OPAQUE, "Opaque", "What is opaque in the mask is made anew"),
)


def read_mask(mask: bpy.types.Image | None, kind: str, picture: bpy.types.Image) -> ChannelImage:
    """The mask of a picture, 1 where it is made anew. Raises `ImageError` with what to do if there is none, if nothing is
    masked, or if its proportions are not the picture's; another size is resampled by the engine."""
    if mask is None and kind != ERASED:
        raise ImageError("No mask was chosen: make one with Paint Mask, or choose an image.")
    values = _values(mask or picture, kind)
    if not (values > 0.0).any():
        if mask is None:
            raise ImageError(f"No mask was chosen, and nothing of {picture.name} is transparent: make one with Paint Mask.")
        raise ImageError(f"The mask {mask.name} is empty: paint over what shall be made anew.")
    (height, width), (wide, high) = values.shape[:2], picture.size
    if abs(width * high - height * wide) > max(min(width, height), min(wide, high)):
        sentence = f"The mask is {width} x {height} and {picture.name} {wide} x {high}: make a mask of the same proportions."
        raise ImageError(sentence)
    return ChannelImage(values, "data")


def _values(image: bpy.types.Image, kind: str) -> np.ndarray:
    if kind == BRIGHT:
        numbers = images.read(image).mean(-1, keepdims=True)
        return np.clip(numbers if images.shows_numbers(image) else linear_to_srgb(np.clip(numbers, 0.0, 1.0)), 0.0, 1.0)
    opaque = np.clip(rewriting.alpha(image), 0.0, 1.0)
    return opaque if kind == OPAQUE else 1.0 - opaque
