# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job gives, made ready for its team: one size, the flash as a channel, a tile where one is wanted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from blender_addon.wire import ChannelImage

from . import channels, colour, derive, membrane, seamless
from .errors import TaskError
from .fitting import fit, resized, same_shape

CUT, KEPT = 1, 2
"""The option `seamless`: the picture is cut so that it tiles, or it tiles already; either way, so do the results. 0: neither."""

Given = Mapping[str, ChannelImage]


def sizes_in_words(given: Given) -> str:
    """The sizes of channels, for a sentence."""
    return ", ".join(f"{name} {image.data.shape[1]} x {image.data.shape[0]}" for name, image in given.items())


def width_of(given: Given) -> int:
    """The width of channels of one size."""
    return next(iter(given.values())).data.shape[1]


def at_one_size(given: Given) -> dict[str, ChannelImage]:
    """The channels of a surface at the size of its picture, or of the first of them. Raises `TaskError` where the
    proportions differ: then they do not show the same."""
    size = given.get("image", next(iter(given.values()))).data.shape[:2]
    if not all(same_shape(size, image.data.shape[:2]) for image in given.values()):
        sentence = f"The given channels differ in their proportions ({sizes_in_words(given)}); crop them to show the same."
        raise TaskError("bad-input", sentence)
    return {name: _resized(name, image, size) for name, image in given.items()}


def limited(given: Given) -> dict[str, ChannelImage]:
    """The channels, which are of one size, at most as large as a result can be."""
    size = fit(*next(iter(given.values())).data.shape[:2], 1).result
    return {name: _resized(name, image, size) for name, image in given.items()}


def opaque(given: Given) -> dict[str, ChannelImage]:
    """The channels; of a picture with alpha, what is more transparent than not is filled from around it: whatever colour it has,
    no surface is to be seen there."""
    image = given.get("image")
    if image is None or image.data.shape[-1] not in (2, 4):
        return dict(given)
    light, hole = colour.finite(channels.three_components(image.data)), image.data[..., -1] < 0.5
    light = membrane.filled(light, hole) if not hole.all() else light
    return {**given, "image": ChannelImage(light, image.space)}


def without_gaps(name: str, data: np.ndarray) -> np.ndarray:
    """A channel's numbers as float32, all finite: one that is not would spread over a picture that is resized or cut. In a
    depth such a number is background, and stays so."""
    if name == "depth":
        return np.where(np.isfinite(data), data, 10.0 * colour.BACKGROUND_DEPTH).astype(np.float32)
    return colour.finite(channels.three_components(data) if name == "normals" else data)


def _resized(name: str, image: ChannelImage, size: tuple[int, int]) -> ChannelImage:
    if image.data.shape[:2] == size:
        return image
    data = resized(without_gaps(name, image.data), size)
    return ChannelImage(channels.normalise(data) if name == "normals" else data, image.space)


def with_flash(given: Given, fov_degrees: float) -> dict[str, ChannelImage]:
    """The channels, and `halfway` of a camera with a flash beside its lens; `fov_degrees` is its vertical field of view."""
    height, width = next(iter(given.values())).data.shape[:2]
    return {**given, "halfway": ChannelImage(colour.halfway(height, width, fov_degrees), channels.DATA)}


def with_normals(given: Given, height_scale: float, periodic: bool) -> dict[str, ChannelImage]:
    """The channels; of a height map without normals, also the normals that belong to it. The whole range of the map is
    `height_scale`, a fraction of the picture's width."""
    if "height" not in given or "normals" in given:
        return dict(given)
    return {**given, "normals": derive.normals(given["height"].data, height_scale, periodic)}


def as_tile(given: Given) -> dict[str, ChannelImage]:
    """The channels, cut alike so that they tile."""
    guide = np.concatenate([channels.to_model(name, given[name]) for name in given if name != "halfway"], axis=-1)
    made = seamless.tile({name: without_gaps(name, image.data) for name, image in given.items()}, guide)
    return {name: ChannelImage(_limited(name, values), given[name].space) for name, values in made.items()}


def _limited(name: str, values: np.ndarray) -> np.ndarray:
    """What mixing has moved out of a channel's range is brought back."""
    word = channels.channel(name)
    return channels.normalise(values) if name == "normals" else np.clip(values, word.low, word.high)
