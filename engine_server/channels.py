# SPDX-License-Identifier: GPL-3.0-or-later
"""The vocabulary of channels: what each one means, and how it looks on the wire and to a model.

    wire    ChannelImage: float32, H x W x C, scene-linear colour, plain data or unit normals -1..1
    model   H x W x 3 float32 in 0..1, what every teammate reads and writes (`halfway` alone exceeds 0..1)

| encoding | wire -> model                                       | model -> wire                       |
|----------|-----------------------------------------------------|-------------------------------------|
| display  | clip(x, 0, 1) ** (1/2.2)                            | x ** 2.2                            |
| unit     | clip(x, 0, 1)                                       | clip(x, 0, 1)                       |
| normals  | n * 0.5 + 0.5                                       | renormalised 2 x - 1                |
| depth    | 1st..99th percentile of the foreground to 0..1      | relative 0..1 (the units are lost)  |
| plain    | x                                                   | x                                   |

One component is repeated to three and back by their mean; alpha is dropped; NaN and infinities become 0
(in a depth: background). The equations between channels are in `colour`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blender_addon.wire import ChannelImage
from . import colour
from .errors import TaskError

SCENE_LINEAR, DATA = "scene-linear", "data"
TANGENT_NORMAL, CAMERA_NORMAL = "tangent-normal", "camera-normal"
FLAT_NORMAL = np.array([0.0, 0.0, 1.0], np.float32)


def normals_encode(normals: np.ndarray) -> np.ndarray:
    """Unit normals (OpenGL: +X right, +Y up, +Z to the viewer) to 0..1: n * 0.5 + 0.5."""
    return np.clip(normals * 0.5 + 0.5, 0.0, 1.0)


def normals_decode(encoded: np.ndarray) -> np.ndarray:
    """0..1 to unit normals; a vector without length becomes the flat normal (0, 0, 1)."""
    return normalise(encoded * 2.0 - 1.0)


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Vectors at unit length, H x W x 3; one shorter than 1e-6 has no direction and becomes (0, 0, 1)."""
    length = np.sqrt(np.einsum("...c,...c->...", vectors, vectors))[..., None]
    return np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), FLAT_NORMAL).astype(np.float32)


def _unit(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0.0, 1.0)


def _plain(values: np.ndarray) -> np.ndarray:
    return values


def _depth_encode(depth: np.ndarray) -> np.ndarray:
    return colour.depth_encode(depth, *colour.depth_range(depth))


@dataclass(frozen=True)
class Encoding:
    """A pair of functions, wire -> model and back, on H x W x C float32 arrays."""

    name: str
    encode: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[np.ndarray], np.ndarray]


DISPLAY = Encoding("display", colour.display_encode, colour.display_decode)
UNIT = Encoding("unit", _unit, _unit)
NORMALS = Encoding("normals", normals_encode, normals_decode)
DEPTH = Encoding("depth", _depth_encode, _unit)
PLAIN = Encoding("plain", _plain, _plain)


@dataclass(frozen=True)
class Channel:
    """One word of the vocabulary. `spaces`: what the wire may tag it with, the default first.

    `components`: 1 or 3 on the wire, when it leaves the engine. `low`, `high`: the wire's range, linear.
    """

    name: str
    meaning: str
    encoding: Encoding
    components: int
    spaces: tuple[str, ...]
    low: float
    high: float


def _colour(name: str, meaning: str, high: float = 1.0, low: float = 0.0) -> Channel:
    return Channel(name, meaning, DISPLAY, 3, (SCENE_LINEAR,), low, high)


def _scalar(name: str, meaning: str) -> Channel:
    return Channel(name, meaning, UNIT, 1, (DATA,), 0.0, 1.0)


_INFINITE = float("inf")
_WORDS = (
    _colour("image", "a photograph or a render", _INFINITE),
    _colour("albedo", "reflectance: base colour of a metalness material, else diffuse + specular"),
    _colour("diffuse", "diffuse reflectance"),
    _colour("specular", "specular reflectance at normal incidence"),
    _colour("shading", "image / albedo", _INFINITE),
    _colour(
        "diffuseshading",
        "light arriving for diffuse reflection: image = diffuse * diffuseshading + residual",
        _INFINITE,
    ),
    _colour("residual", "image - diffuse * diffuseshading: highlights, emission, transmission", _INFINITE, -_INFINITE),
    Channel("inverseshading", "image / (albedo + image)", UNIT, 3, (DATA,), 0.0, 1.0),
    _scalar("roughness", "perceptual roughness, the square root of the microfacet alpha"),
    _scalar("metalness", "0 dielectric, 1 metal"),
    _scalar("height", "displacement along the normal; 0.5 is the middle of the range"),
    _scalar("mask", "1 where a pixel counts"),
    Channel("normals", "surface directions, OpenGL", NORMALS, 3, (TANGENT_NORMAL, CAMERA_NORMAL), -1.0, 1.0),
    Channel(
        "depth",
        "distance along the view axis, metres or relative; background >= 1e9",
        DEPTH,
        1,
        (DATA,),
        0.0,
        _INFINITE,
    ),
    Channel("halfway", "direction to light plus direction to camera, not normalised", PLAIN, 3, (DATA,), -2.0, 2.0),
)
CHANNELS: dict[str, Channel] = {word.name: word for word in _WORDS}


def channel(name: str) -> Channel:
    """The channel of that name. Raises TaskError with the names that exist."""
    if name not in CHANNELS:
        raise TaskError("unknown-channel", f"There is no channel {name!r}; the channels are {', '.join(CHANNELS)}.")
    return CHANNELS[name]


def three_components(array: np.ndarray) -> np.ndarray:
    """H x W or H x W x 1..4 -> H x W x 3: grey is repeated, alpha (the 2nd of two, the 4th of four) dropped."""
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or not 1 <= array.shape[-1] <= 4 or array.size == 0:
        raise TaskError("bad-image", f"An image has height x width x 1 to 4 values, not the shape {array.shape}.")
    return array[..., :3] if array.shape[-1] >= 3 else np.repeat(array[..., :1], 3, axis=-1)


def model_array(image: np.ndarray) -> np.ndarray:
    """Any picture already in model encoding to H x W x 3 float32 in 0..1.

    Takes H x W or H x W x 1..4; float in 0..1 (NaN and infinities become 0), uint8 or uint16 (full range).
    """
    image = three_components(np.asarray(image))
    if image.dtype.kind == "u":
        return (image / np.float32(np.iinfo(image.dtype).max)).astype(np.float32)
    return np.clip(colour.finite(image), 0.0, 1.0)


def single_value(array: np.ndarray) -> np.ndarray:
    """H x W x 3 -> H x W x 1, the mean of the three; of three equal values exactly that value."""
    same = (array[..., :1] == array[..., 1:2]) & (array[..., :1] == array[..., 2:])
    return np.where(same, array[..., :1], array.mean(axis=-1, keepdims=True)).astype(np.float32)


def _check(word: Channel, image: ChannelImage) -> None:
    if image.space not in word.spaces:
        raise TaskError(
            "wrong-space", f"{word.name} is tagged {image.space!r}; expected {' or '.join(map(repr, word.spaces))}."
        )
    if word.encoding is NORMALS and image.data.shape[-1] < 3:
        raise TaskError("bad-image", f"{word.name} need three components, not {image.data.shape[-1]}.")


def to_model(name: str, image: ChannelImage) -> np.ndarray:
    """A channel as a model wants it: H x W x 3 float32, 0..1 (`halfway` as it is).

    Raises TaskError for an unknown channel, a wrong space or a shape that is no image.
    """
    word = channel(name)
    values = three_components(np.asarray(image.data, np.float32))
    _check(word, image)
    values = values if word.encoding is DEPTH else colour.finite(values)
    if word.components == 1:
        return word.encoding.encode(single_value(values)).repeat(3, axis=-1).astype(np.float32)
    return np.ascontiguousarray(word.encoding.encode(values), np.float32)


def to_wire(name: str, values: np.ndarray, space: str | None = None) -> ChannelImage:
    """A model's H x W x 3 array as a channel of the wire; the inverse of `to_model` within the channel's range.

    `space` chooses among the channel's spaces (normals: tangent or camera); the default is the first.
    """
    word = channel(name)
    values = word.encoding.decode(colour.finite(three_components(np.asarray(values))))
    values = single_value(values) if word.components == 1 else values
    image = ChannelImage(np.ascontiguousarray(values, np.float32), space or word.spaces[0])
    _check(word, image)
    return image
