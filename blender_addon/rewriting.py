# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of images in which something is changed and the rest is bit for bit the same; copies to paint on; their alpha.

Of an image in 8 bits Blender holds the file's numbers with straight alpha, of floats premultiplied light or data. The main
thread takes the pixels and packs the file of the copy; what lies between is made in another one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import bpy
import numpy as np

from .colour import alpha_of, colour_of, finite, from_rec709, linear_to_srgb, srgb_to_linear, straight_of, to_rec709
from .exr import encode_exr
from .images import RENDER, channel_curve, download, light_curve, packed, premultiplied, rendered, three_components
from .png import LINES, encode_png
from .spaces import is_linear, tag, working
from .storage import DATA, PLAIN, SRGB, STORAGE, encode

Curve = Callable[[np.ndarray], np.ndarray]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Original:
    """An image as it was when it was taken: H x W x 4 as Blender holds it, rows from the top, and how that is meant."""

    stored: np.ndarray
    deep: bool
    space: str
    held: str
    """The space in which Blender holds its light."""
    data: bool
    linear: bool
    alpha_mode: str
    premultiplied: bool
    meaning: Curve
    """From colours without alpha in them to wire values of a channel."""

    @staticmethod
    def of(image: bpy.types.Image, channel: str, erased: bool = False) -> Original:
        """Take the pixels. Raises `ImageError`."""
        if image.type == RENDER:
            with rendered(image) as file:
                return Original.of(file, channel)
        light, meant, settings = light_curve(image), channel_curve(image, channel), image.colorspace_settings
        return Original(
            stored=download(image),
            deep=image.is_float,
            space=settings.name,
            held=working() if image.is_float and not settings.is_data else settings.name,
            data=settings.is_data,
            linear=is_linear(image),
            alpha_mode=image.alpha_mode,
            premultiplied=premultiplied(image, erased),
            meaning=lambda values: meant(light(values)),
        )

    def file(self, values: np.ndarray, channel: str, opaque: bool = False) -> bytes:
        """The file of a copy with these wire values. Pixels of the same values, alpha (unless the copy is to be opaque) and depth
        (8 bits or float) stay."""
        changed = np.empty((*values.shape[:2], 4), np.float32)
        for top in range(0, len(values), LINES):
            changed[top : top + LINES] = self._changed(self.stored[top : top + LINES], values[top : top + LINES], channel, opaque)
        return encode_exr(changed) if self.deep else encode_png(changed)

    def _changed(self, stored: np.ndarray, values: np.ndarray, channel: str, opaque: bool) -> np.ndarray:
        """Some lines of the copy, with four components."""
        colour, three = straight_of(stored) if self.premultiplied else colour_of(stored), three_components(values)
        other = (three != three_components(self.meaning(colour))).any(-1)
        lines = np.ones((*stored.shape[:2], 4), np.float32)
        lines[..., :3] = colour if opaque else colour_of(stored)
        lines[..., 3:] = 1.0 if opaque else alpha_of(stored)
        lines[other, :3] = self._unread(three[other], channel) * (lines[other, 3:] if self.premultiplied else 1.0)
        return lines

    def _unread(self, values: np.ndarray, channel: str) -> np.ndarray:
        """The inverse of `meaning`, on single pixels."""
        storage = STORAGE.get(channel, PLAIN)
        values = values * 0.5 + 0.5 if storage.signed else values
        if self.data:
            return values
        if storage.space == DATA:
            values = to_rec709(values, self.space) if self.linear else srgb_to_linear(values)
        return from_rec709(values, self.held) if self.deep or self.linear else linear_to_srgb(np.clip(values, 0.0, 1.0))

    def copy(self, name: str, file: bytes) -> bpy.types.Image:
        """The copy, packed, from its file."""
        made = packed(name, file, self.held)
        usual = "PREMUL" if self.deep else "STRAIGHT"  # as they are held, whatever the original's file has
        made.alpha_mode = usual if self.alpha_mode in ("PREMUL", "STRAIGHT") else self.alpha_mode
        return made


class Beside(Generic[Made]):
    """Something that is made in another thread, beside the main one."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make, self._made = make, None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="teamwork-copy", daemon=True)
        self._thread.start()

    def ready(self, most_seconds: float = 0.0) -> bool:
        """Is it made? Waits so long for it."""
        self._thread.join(most_seconds)
        return not self._thread.is_alive()

    def made(self) -> Made:
        """It, waited for. Raises what went wrong."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._made

    def _run(self) -> None:
        try:
            self._made = self._make()
        except Exception as error:  # it is the main thread's to tell
            self._error = error


class Rewriting:
    """A copy of an image with other wire values of a channel, on its way. Its pixels are taken at once, on the main thread.
    An image of another size than the values is not copied: it becomes a new one."""

    def __init__(self, image: bpy.types.Image, values: np.ndarray, channel: str, opaque: bool = False) -> None:
        """Raises `ImageError` for an image without pixels."""
        self._original, self._channel = Original.of(image, channel, opaque), channel
        self._fits = self._original.stored.shape[:2] == values.shape[:2]
        copied = partial(self._original.file, values, channel, opaque)
        self._file: Beside[bytes] = Beside(copied if self._fits else partial(encode, values, channel))

    def ready(self, most_seconds: float) -> bool:
        """Is the file made? Waits so long for it."""
        return self._file.ready(most_seconds)

    def image(self, name: str) -> bpy.types.Image:
        """The copy, waited for. Raises what went wrong."""
        file = self._file.made()
        if self._fits:
            return self._original.copy(name, file)
        return packed(name, file, STORAGE.get(self._channel, PLAIN).space)


def rewritten(image: bpy.types.Image, name: str, values: np.ndarray, channel: str, opaque: bool = False) -> bpy.types.Image:
    """A packed copy of an image with other wire values of a channel. Pixels of the same values, alpha (unless the copy is to be
    opaque), colour space and depth (8 bits or float) stay as they are."""
    return Rewriting(image, values, channel, opaque).image(name)


class Canvas:
    """An opaque copy of what a picture shows, in 8 bits, to be painted on, on its way. The picture's pixels are taken at once."""

    def __init__(self, name: str, picture: bpy.types.Image) -> None:
        """Raises `ImageError` for a picture without pixels."""
        self._name, original = name, Original.of(picture, "image")
        self._lines: Beside[np.ndarray] = Beside(partial(_shown, original))

    def ready(self) -> bool:
        """Are its pixels known?"""
        return self._lines.ready()

    def image(self) -> bpy.types.Image:
        """The new image, waited for. It is one that Blender generates, not a file that it would have to decode."""
        lines = self._lines.made()
        made = bpy.data.images.new(self._name, lines.shape[1], lines.shape[0], alpha=True)
        tag(made, SRGB)  # a configuration may take new images for something else
        made.pixels.foreach_set(lines.reshape(-1))
        return made


def _shown(original: Original) -> np.ndarray:
    """What an image shows as sRGB, H x W x 4 and opaque, rows from the bottom."""
    encoded = original.data or not (original.deep or original.linear)
    stored = original.stored[::-1]
    made = np.ones((*stored.shape[:2], 4), np.float32)
    for low in range(0, len(stored), LINES):
        colour = finite(colour_of(stored[low : low + LINES]))
        made[low : low + LINES, :, :3] = colour if encoded else linear_to_srgb(np.clip(to_rec709(colour, original.held), 0.0, 1.0))
    return made
