# SPDX-License-Identifier: GPL-3.0-or-later
"""How each channel is kept in the .blend file, and its values as the bytes of that file. No bpy: 4K takes seconds, which
the main thread does not have, so `prepare` does it before a result lands.

| channel                                   | kept as                                  | colour space    |
|-------------------------------------------|------------------------------------------|-----------------|
| albedo, diffuse, specular                 | 8 bit PNG                                | sRGB            |
| roughness, metalness, mask                | 8 bit PNG                                | Non-Color       |
| normals (n * 0.5 + 0.5), height           | 16 bit PNG                               | Non-Color       |
| image, shading, diffuseshading, residual  | 32 bit OpenEXR                           | Linear Rec.709  |
| depth and the rest                        | 32 bit OpenEXR                           | Non-Color       |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from .ahead import Ahead
from .colour import finite, from_rec709, linear_to_srgb, srgb_to_linear, to_rec709
from .exr import encode_exr
from .png import LINES, encode_png, levels
from .wire import ChannelImage

SRGB, LINEAR, DATA = "sRGB", "Linear Rec.709", "Non-Color"

Kept = Callable[[np.ndarray, str], np.ndarray]
"""What is left of the wire values of a channel where they are kept."""


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
ADDED_UP = {"albedo", "diffuseshading", "residual"}
"""What a decomposition has, beside a metalness perhaps: albedo * (1 - metalness) * diffuseshading + residual is the image."""

PREPARED: Ahead[bytes] = Ahead()
"""Files by their channel."""


def prepare(channel: str, image: ChannelImage) -> None:
    """Make the file of a result's channel now, in this thread, for the `file_of` that will ask for it."""
    PREPARED.keep(image.data, channel, encode(image.data, channel))


def file_of(array: np.ndarray, channel: str) -> bytes:
    """H x W x 1 or 3 wire values of a channel as the bytes of a PNG or OpenEXR file; at once if they were prepared."""
    return PREPARED.take(array, channel) or encode(array, channel)


def as_stored(array: np.ndarray, channel: str) -> np.ndarray:
    """What is left of wire values of a channel when its file has them in as many bits as it does."""
    storage = STORAGE.get(channel, PLAIN)
    if not storage.bits:
        return finite(array)
    kept = levels(_shown(array, storage), storage.bits) / np.float32(2**storage.bits - 1)
    kept = srgb_to_linear(kept) if storage.space == SRGB else kept
    return kept * 2.0 - 1.0 if storage.signed else kept


def exact(outputs: Mapping[str, ChannelImage], working: str = LINEAR, kept: Kept = as_stored) -> dict[str, ChannelImage]:
    """The channels of a result. The residual of a decomposition is another one, with which the others add up to the image in
    Blender: as they are `kept`, not as they were made, and multiplied in its `working` space.

    So it has what rounding to 8 bits takes from albedo * (1 - metalness), and what products of colours differ by in another space.
    """
    if not ADDED_UP <= outputs.keys():
        return dict(outputs)
    parts = {name: outputs[name].data for name in (*ADDED_UP, "metalness") if name in outputs}
    residual = np.empty(parts["residual"].shape, np.float32)
    for top in range(0, len(residual), LINES):
        residual[top : top + LINES] = _exact_lines({name: part[top : top + LINES] for name, part in parts.items()}, working, kept)
    return {**outputs, "residual": ChannelImage(residual, outputs["residual"].space)}


def _exact_lines(parts: Mapping[str, np.ndarray], working: str, kept: Kept) -> np.ndarray:
    there = {name: kept(values, name) for name, values in parts.items()}
    there |= {name: from_rec709(there[name], working) for name in ("albedo", "diffuseshading")}
    return parts["residual"] + _lit(parts) - to_rec709(_lit(there), working)


def _lit(parts: Mapping[str, np.ndarray]) -> np.ndarray:
    return parts["albedo"] * (1.0 - parts.get("metalness", np.float32(0.0))) * parts["diffuseshading"]


def encode(array: np.ndarray, channel: str) -> bytes:
    """H x W x 1 or 3 wire values of a channel, or 4 with the alpha of light, as the bytes of its file."""
    storage = STORAGE.get(channel, PLAIN)
    return encode_png(array, storage.bits, partial(_shown, storage=storage)) if storage.bits else encode_exr(array)


def _shown(values: np.ndarray, storage: Storage) -> np.ndarray:
    values = finite(values)
    if storage.space == SRGB:
        return linear_to_srgb(np.clip(values, 0.0, 1.0))
    return values * np.float32(0.5) + np.float32(0.5) if storage.signed else values
