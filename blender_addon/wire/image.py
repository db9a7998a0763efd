# SPDX-License-Identifier: GPL-3.0-or-later
"""The one kind of array on the wire: an image with the meaning of its numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import ProtocolError
from .limits import MAX_COMPONENTS, MAX_PIXELS, MAX_SIDE
from .schema import shown

SPACES = ("scene-linear", "data", "tangent-normal", "camera-normal")
"""What the numbers of an image mean; `PROTOCOL.md` defines each."""

DTYPES = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}


@dataclass(frozen=True, eq=False)
class ChannelImage:
    """An image: `data` is H x W x C, C in 1..4, float32 or (to halve the transfer) float16, rows from the top down.

    `space` is one of `SPACES`: scene-linear colour (Rec.709 primaries), plain data, or unit normals in -1..1 (OpenGL:
    +X right, +Y up, +Z to the viewer) in tangent or camera space. Raises `ProtocolError` if the array is anything else.
    """

    data: np.ndarray
    space: str

    def __post_init__(self) -> None:
        if not isinstance(self.data, np.ndarray):
            raise ProtocolError(f"An image's data is a {type(self.data).__name__}; expected a NumPy array.")
        check_image(self.data.dtype.name, self.data.shape, self.space, "An image")


def check_image(dtype: str, shape: tuple[int, ...], space: str, where: str) -> None:
    """Raise `ProtocolError` unless an image may have this description."""
    if dtype not in DTYPES:
        raise ProtocolError(f"{where} is of type {shown(dtype)}; expected float32 or float16.")
    if len(shape) != 3 or not 1 <= shape[2] <= MAX_COMPONENTS:
        raise ProtocolError(f"{where} has the shape {_shape(shape)}; expected height x width x 1..{MAX_COMPONENTS}.")
    if not all(1 <= side <= MAX_SIDE for side in shape[:2]) or shape[0] * shape[1] > MAX_PIXELS:
        raise ProtocolError(
            f"{where} has the shape {_shape(shape)}; expected 1 .. {MAX_SIDE} each way"
            f" and at most {MAX_PIXELS} pixels."
        )
    if space not in SPACES:
        raise ProtocolError(f"{where} has the space {shown(space)}; expected one of {', '.join(SPACES)}.")


def _shape(shape: tuple[int, ...]) -> str:
    return shown(" x ".join(map(str, shape)))[1:-1] if shape else "of a single number"
