# SPDX-License-Identifier: GPL-3.0-or-later
"""Outputs that follow from a team's answers by an equation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blender_addon.wire import ChannelImage

from . import channels, colour
from .errors import TaskError
from .integrate import height_from_normals, height_from_unit, height_to_unit, normals_from_height


PAIR = ("diffuse", "specular")
BLACK = 1e-3
"""The most that a surface reflects of which no light could be told."""


def found(name: str, makes: Sequence[str]) -> tuple[str, ...]:
    """Which of a team's outputs give a channel: itself, or diffuse and specular for albedo and metalness; () where none do.

    The albedo of a team that makes the pair and no metalness is their sum, not a base colour: there the pair gives both.
    """
    pair = set(PAIR) <= set(makes)
    summed = name == "albedo" and pair and "metalness" not in makes
    if name in makes and not summed:
        return (name,)
    return PAIR if pair and name in ("albedo", "metalness") else ()


def sources(name: str, makes: Sequence[str]) -> tuple[str, ...]:
    """As `found`. Raises `TaskError` naming the channel and what the team makes where there are none."""
    if parts := found(name, makes):
        return parts
    raise TaskError("bad-output", f"This model cannot make {name!r}; it makes {', '.join(makes)}.")


def metalness_workflow(answers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The answers, with albedo (base colour) and metalness added where a team made diffuse and specular instead.

    An albedo beside the pair is their sum if there is no metalness, and gives way to the base colour.
    """
    if not set(PAIR) <= set(answers):
        return answers
    albedo, metalness = colour.metalness_from_specular(*(colour.display_decode(answers[name]) for name in PAIR))
    made = {"albedo": colour.display_encode(albedo), "metalness": metalness.repeat(3, axis=-1)}
    return made | answers if "metalness" in answers else answers | made


def specular_workflow(pictures: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The encoded pictures, with diffuse and specular added where albedo (base colour) and metalness are there: the inverse
    of `metalness_workflow`."""
    if not {"albedo", "metalness"} <= set(pictures):
        return pictures
    parts = colour.specular_from_metalness(colour.display_decode(pictures["albedo"]), pictures["metalness"][..., :1])
    return dict(zip(PAIR, map(colour.display_encode, parts), strict=True)) | pictures


def relief(normals: np.ndarray, periodic: bool = False) -> np.ndarray:
    """Height H x W by integrating encoded normals, as a fraction of the picture's width."""
    return height_from_normals(channels.normals_decode(normals), periodic=periodic, remove_tilt=True)


def slope_of(x: np.ndarray, y: np.ndarray) -> float:
    """The factor k of the line y = k x + c that is nearest to both in the least-squares sense; 1 where x does not vary."""
    x, y = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    variance = float(np.var(x)) if x.size else 0.0
    return float(np.mean((x - x.mean()) * (y - y.mean()))) / variance if variance > 1e-12 else 1.0


def depth_like(encoded: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """An encoded depth in the units of a given one, of which it is a changed copy; H x W x 1."""
    values = channels.single_value(channels.three_components(np.asarray(depth, np.float32)))
    return colour.depth_decode(channels.single_value(encoded), *colour.depth_range(values))


def height(normals: np.ndarray, periodic: bool = False) -> tuple[ChannelImage, float]:
    """Height 0..1 by integrating encoded normals, and its full range as a fraction of the picture's width."""
    values, scale = height_to_unit(relief(normals, periodic))
    return ChannelImage(values[..., None], channels.DATA), float(scale)


def normals(height: np.ndarray, scale: float, periodic: bool = False) -> ChannelImage:
    """Tangent-space normals of a height map H x W x C in 0..1, whose full range is `scale`, a fraction of its width."""
    surface = height_from_unit(channels.single_value(channels.three_components(height))[..., 0], scale)
    return ChannelImage(normals_from_height(surface, periodic), channels.TANGENT_NORMAL)


def residual(image: np.ndarray, albedo: np.ndarray, metalness: np.ndarray, diffuseshading: np.ndarray) -> ChannelImage:
    """image - albedo (1 - metalness) diffuseshading, all of them scene-linear wire values, so that just these parts add up."""
    seen = channels.three_components(colour.finite(image))
    return ChannelImage(colour.residual(seen, albedo * (1.0 - metalness), diffuseshading), channels.SCENE_LINEAR)


def shaded(given: dict[str, ChannelImage], inverse_shading: np.ndarray, exposure: float) -> ChannelImage:
    """albedo * s / (1 - s), scene-linear; the given render itself where the passes hit no surface, or one that reflects nothing: what
    is to be seen of a lamp is its own light. With the alpha of the given render, if it has one, and multiplied with it as that is."""
    albedo = channels.three_components(colour.finite(given["albedo"].data))
    image = albedo * colour.shading_from_inverse(inverse_shading) / np.float32(exposure)
    alpha = np.empty((*image.shape[:2], 0), np.float32)
    if "image" in given:
        lit = albedo.max(-1, keepdims=True) > BLACK
        lit &= colour.is_foreground(given["depth"].data[..., :1]) if "depth" in given else True
        render = colour.finite(given["image"].data)
        image, alpha = np.where(lit, image, channels.three_components(render)), render[..., 3:]
    return ChannelImage(np.concatenate([image, alpha], axis=-1, dtype=np.float32), channels.SCENE_LINEAR)
