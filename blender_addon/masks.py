# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks of pictures: what is made anew, and what can be seen through."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np

from . import images, spaces
from .colour import alpha_of, colour_of, linear_to_srgb, straight_of
from .images import ImageError
from .wire import ChannelImage

ERASED, BRIGHT, OPAQUE = "ERASED", "BRIGHT", "OPAQUE"
KINDS = (
    (ERASED, "Erased", "What is transparent is made anew: in the mask, or in the picture itself if there is no mask"),
    (BRIGHT, "White", "What is white in the mask is made anew, black stays, grey mixes both"),
    (OPAQUE, "Opaque", "What is opaque in the mask is made anew"),
)

SPARSE = 8
"""Whether anything is masked at all shows one pixel in so many each way, mostly."""


def read_mask(mask: bpy.types.Image | None, kind: str, picture: bpy.types.Image) -> ChannelImage:
    """The mask of a picture, 1 where it is made anew. Raises `ImageError` with what to do if there is none, if nothing is
    masked, or if its proportions are not the picture's; another size is resampled by the engine."""
    if mask is None and (kind != ERASED or picture.type == images.RENDER):
        raise ImageError("No mask was chosen: make one with Paint Mask, or choose an image.")
    stored, curve = images.download(mask or picture), _curve(mask or picture, kind)
    if not (curve(stored[::SPARSE, ::SPARSE]).any() or curve(stored).any()):
        if mask is None:
            raise ImageError(f"No mask was chosen, and nothing of {picture.name} is transparent: make one with Paint Mask.")
        raise ImageError(f"The mask {mask.name} is empty: paint over what shall be made anew.")
    (height, width), (wide, high) = stored.shape[:2], picture.size
    if abs(width * high - height * wide) > max(min(width, height), min(wide, high)):
        sentence = f"The mask is {width} x {height} and {picture.name} {wide} x {high}: make a mask of the same proportions."
        raise ImageError(sentence)
    return images.LaterImage((height, width, 1), lambda: images.converted(stored, curve, 1), "data")


def with_opacity(image: bpy.types.Image) -> ChannelImage:
    """A picture as a channel, scene-linear; where some of it can be seen through, with its alpha as fourth component, and colours
    without alpha in them. Raises `ImageError`."""
    if image.type == images.RENDER:  # which is read without alpha
        return images.read_later(image)
    stored, light = images.download(image), images.light_curve(image)
    colours = straight_of if images.premultiplied(image, False) else colour_of
    shows = stored.shape[2] == 4 and image.alpha_mode in ("STRAIGHT", "PREMUL") and bool((stored[..., 3] < 1.0).any())

    def curve(lines: np.ndarray) -> np.ndarray:
        seen = light(colours(lines))
        return np.concatenate([seen, lines[..., 3:]], -1) if shows else seen

    count = 4 if shows else colours(stored[:1, :1]).shape[2]
    return images.LaterImage((*stored.shape[:2], count), lambda: images.converted(stored, curve, count))


def _curve(image: bpy.types.Image, kind: str) -> Callable[[np.ndarray], np.ndarray]:
    """From an image's stored values to those of a mask."""
    light, numbers = images.light_curve(image), spaces.is_linear(image)

    def bright(stored: np.ndarray) -> np.ndarray:
        grey = light(colour_of(stored)).mean(-1, keepdims=True)
        return np.clip(grey if numbers else linear_to_srgb(np.clip(grey, 0.0, 1.0)), 0.0, 1.0)

    def opaque(stored: np.ndarray) -> np.ndarray:
        return np.clip(alpha_of(stored), 0.0, 1.0)

    return {BRIGHT: bright, OPAQUE: opaque, ERASED: lambda stored: 1.0 - opaque(stored)}[kind]
