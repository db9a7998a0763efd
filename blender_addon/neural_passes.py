# SPDX-License-Identifier: GPL-3.0-or-later
"""The passes that the engine adds to a render, what each is made from, and the way from Cycles' passes to channels.

Cycles renders whatever pass a render engine registers, whether or not the view layer asks for it. So the inputs of
`Neural Image` are registered beside it, and nothing in the scene has to be changed to get them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import bpy
import numpy as np

from . import capture, passes, surfaces
from .colour import finite, from_rec709
from .spaces import working
from .wire import ChannelImage

DIELECTRIC = 0.04
"""What a surface that is no metal reflects of light from straight ahead."""


@dataclass(frozen=True)
class RenderPass:
    """A pass as Blender registers it: its name, one letter for each component, and COLOR, VECTOR or VALUE."""

    name: str
    components: str
    kind: str


@dataclass(frozen=True)
class NeuralPass(RenderPass):
    """One that the engine makes: the view layer's setting for it, the task, and the task's output channel."""

    setting: str
    task: str
    channel: str
    description: str


def _estimate(word: str, components: str, kind: str, channel: str, meaning: str) -> NeuralPass:
    """A pass that the engine estimates from what Combined shows."""
    setting = f"use_{word.lower()}"
    return NeuralPass(
        f"Neural {word}", components, kind, setting, "decompose", channel, f"{meaning}, estimated from Combined"
    )


NEURAL = (
    NeuralPass(
        "Neural Image", "RGBA", "COLOR", "use_image", "shade", "image", "The picture, shaded anew from Cycles' passes"
    ),
    _estimate("Albedo", "RGB", "COLOR", "albedo", "Base colour"),
    _estimate("Normal", "XYZ", "VECTOR", "normals", "World-space normals"),
    _estimate("Depth", "X", "VALUE", "depth", "Relative depth from 0, near, to 1, far"),
    _estimate("Roughness", "X", "VALUE", "roughness", "Roughness"),
    _estimate("Metalness", "X", "VALUE", "metalness", "Metalness"),
    _estimate("Shading", "RGB", "COLOR", "diffuseshading", "Light that arrives for diffuse reflection"),
    _estimate("Residual", "RGB", "COLOR", "residual", "The rest without albedo x (1 - metalness) x shading"),
)
"""In the order in which they are shown."""
SOURCES = {
    "depth": ("Z", "VALUE"),
    "normals": ("XYZ", "VECTOR"),
    "diffuse_colour": ("RGB", "COLOR"),
    "glossy_colour": ("RGB", "COLOR"),
    "transmission_colour": ("RGB", "COLOR"),
}
"""Cycles' passes that `Neural Image` is made from, by our words for them (`passes.NAMES`)."""
MOTION = RenderPass("Vector", "XYZW", "VECTOR")
"""Cycles' motion vectors, which all versions call the same (`motion` says what they hold)."""


def chosen(layer) -> tuple[NeuralPass, ...]:
    """The neural passes that a view layer has turned on."""
    return tuple(each for each in NEURAL if getattr(layer.teamwork, each.setting))


def sources(wanted: Iterable[NeuralPass], moving: bool = False) -> tuple[RenderPass, ...]:
    """The passes of Cycles that the wanted ones are made from, besides Combined, as this Blender names them.

    `moving`: with the motion vectors from frame to frame.
    """
    words = list(SOURCES) if any(each.task == "shade" for each in wanted) else []
    newest = 0 if bpy.app.version >= (5, 0, 0) else -1
    made = [RenderPass(passes.NAMES[word][newest], *SOURCES[word]) for word in words]
    return (*made, MOTION) if moving and wanted else tuple(made)


def read(result, layer_name: str, wanted: Iterable[NeuralPass], moving: bool = False) -> dict[str, np.ndarray]:
    """Of a render engine's result, the passes that the wanted ones are made from: {Blender's name: H x W x C}.

    No others: at 4K each takes a tenth of a gigabyte.
    """
    names = {"Combined", *(each.name for each in sources(wanted, moving))}
    return capture.read_layer(result, layer_name, names | {surfaces.PREFIX + name for name in surfaces.AOVS})


def rendered(arrays: Mapping[str, np.ndarray]) -> bool:
    """Is there anything in the passes? Python is not told of an error in Cycles, but then everything is 0, alpha too."""
    return any(values.any() for values in arrays.values())


def inputs(task: str, arrays: Mapping[str, np.ndarray], camera_matrix) -> dict[str, ChannelImage]:
    """The channels that a task takes, from a view layer's passes (H x W x C, rows from the top).

    A decomposition takes the picture. Shading takes all that the passes tell: AOVs named "Teamwork albedo", "Teamwork
    roughness" and "Teamwork metalness" where the view layer has them, else an albedo from Cycles' colour passes.
    Raises `passes.PassError` when Cycles left a pass out.
    """
    picture = ChannelImage(passes.light_of(passes.find(arrays, "image")), passes.COLOUR)
    if task == "decompose":
        return {"image": picture}
    depth = passes.find(arrays, "depth")[..., :1]
    normals = passes.camera_normals(passes.find(arrays, "normals"), camera_matrix)
    surface = depth < passes.NO_SURFACE
    return {
        "image": picture,
        "albedo": ChannelImage(_albedo(arrays), passes.COLOUR),
        "normals": ChannelImage(np.where(surface, normals, (0.0, 0.0, 1.0)).astype(np.float32), passes.CAMERA_NORMAL),
        "depth": ChannelImage(np.nan_to_num(depth, nan=1e10, posinf=1e10), passes.DATA),
    } | _aovs(arrays)


def _albedo(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    own = arrays.get(surfaces.PREFIX + "albedo")
    if own is not None:
        return passes.light_of(own)
    words = ("diffuse_colour", "transmission_colour", "glossy_colour")
    diffuse, through, glossy = (passes.light_of(passes.find(arrays, word)) for word in words)
    return base_colour(diffuse + through, glossy)


def base_colour(diffuse: np.ndarray, glossy: np.ndarray) -> np.ndarray:
    """Base colour, 0..1, from what a surface reflects diffusely and by its gloss, H x W x 3 each.

    d = c (1 - m) and g = c m + f (1 - m) with f = 0.04 give c = d + g - f (1 - m). The metalness m is not known; the
    share of gloss beyond f in all that is reflected stands for it, which is wrong by little since f is little.
    """
    total = diffuse + glossy
    beyond = (glossy - DIELECTRIC).mean(-1, keepdims=True)
    share = np.clip(beyond / np.maximum(total.mean(-1, keepdims=True), 1e-6), 0.0, 1.0)
    return np.clip(total - DIELECTRIC * (1.0 - share), 0.0, 1.0).astype(np.float32)


def _aovs(arrays: Mapping[str, np.ndarray]) -> dict[str, ChannelImage]:
    found = {name: arrays.get(surfaces.PREFIX + name) for name in ("roughness", "metalness")}
    given = {name: np.clip(finite(values)[..., :1], 0.0, 1.0) for name, values in found.items() if values is not None}
    return {name: ChannelImage(np.ascontiguousarray(values), passes.DATA) for name, values in given.items()}


def stored(each: NeuralPass, answer: np.ndarray, combined: np.ndarray, camera_matrix) -> np.ndarray:
    """What the engine answered, H x W x 1 or 3, as the pass holds it: H x W x its components, rows from the top.

    Normals are turned from the camera's axes to the world's, as in Blender's own pass; colours are of the working space, and a
    picture gets Combined's alpha.
    """
    values = from_rec709(finite(answer), working()) if each.kind == "COLOR" else finite(answer)
    if each.channel == "normals":
        values = values @ np.array(camera_matrix.to_3x3().normalized(), np.float32).T
    if each.components == "RGBA":
        values = np.concatenate([values, finite(combined[..., 3:4])], axis=-1)
    return np.ascontiguousarray(values[..., : len(each.components)])
