# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels of the wire in files: PNG and JPEG as pictures are kept, or NumPy's .npy with the wire's own numbers.

| space          | in a picture                                  |
|----------------|-----------------------------------------------|
| scene-linear   | sRGB, clipped to 0..1                         |
| data           | as it is, clipped to 0..1                     |
| normals        | n * 0.5 + 0.5                                 |

A depth in metres, and light beyond 1, only fit into .npy.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from blender_addon.colour import linear_to_srgb, srgb_to_linear
from blender_addon.png import encode_png
from blender_addon.wire import ChannelImage

from . import channels
from .tasks import TASKS

SUFFIXES = (".png", ".jpg", ".jpeg", ".npy")
FORMATS = ("png", "npy")
BITS = 16


class PictureError(ValueError):
    """A file is no picture of its channel; the text is a sentence for the user."""


def overwritten(results: Iterable[Path], given: Iterable[Path]) -> str:
    """A sentence, if a result would take the place of a picture that is given."""
    there = {path.resolve() for path in given}
    found = next((path for path in results if path.resolve() in there), None)
    return f"{found} is a given picture, and a result would be written over it; choose another --out." if found else ""


def load(path: Path, channel: str, task: str) -> ChannelImage:
    """The picture of a channel, as the task wants it on the wire: that of a surface with its alpha, if it has any. Raises
    `PictureError`, and `TaskError` for no channel."""
    word = channels.channel(channel)
    space = TASKS[task].normals if channel == "normals" and task in TASKS else word.spaces[0]
    if path.suffix.lower() == ".npy":
        return ChannelImage(_numbers(path), space)
    if channel == "depth":
        raise PictureError(f"{path} cannot hold a depth in metres; expected a .npy file of height x width x 1 numbers.")
    stored = _stored(path, alpha=channel == "image" and task in TASKS and TASKS[task].surface)
    if space == channels.SCENE_LINEAR:
        return ChannelImage(np.concatenate([srgb_to_linear(stored[..., :3]), stored[..., 3:]], axis=-1), space)
    if channel == "normals":
        return ChannelImage(channels.normals_decode(stored), space)
    return ChannelImage(channels.single_value(stored) if word.components == 1 else stored, space)


def _numbers(path: Path) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise PictureError(f"{path} cannot be read ({error}); expected a .npy file of float32 numbers.") from error
    if values.ndim not in (2, 3) or values.dtype.kind not in "fu":
        raise PictureError(f"{path} holds {values.dtype} of shape {values.shape}; expected float32, height x width x 1 to 4.")
    return np.ascontiguousarray(values.reshape(*values.shape[:2], -1), np.float32)


def _stored(path: Path, alpha: bool) -> np.ndarray:
    from .evaluate.errors import DataError
    from .evaluate.pngs import read  # Pillow, which .npy files do without

    try:
        return read(path, alpha)
    except DataError as error:
        raise PictureError(str(error)) from error


def save(path: Path, image: ChannelImage, kind: str) -> None:
    """Write a channel as a 16-bit PNG, or (`kind` "npy") as its own numbers."""
    if kind == "npy":
        with path.open("wb") as file:
            np.save(file, np.asarray(image.data, np.float32), allow_pickle=False)
    else:
        path.write_bytes(encode_png(_displayed(image), BITS))


def _displayed(image: ChannelImage) -> np.ndarray:
    values = np.nan_to_num(np.asarray(image.data, np.float32))
    if image.space == channels.SCENE_LINEAR:
        return linear_to_srgb(values)
    return values if image.space == channels.DATA else channels.normals_encode(values)
