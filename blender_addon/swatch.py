# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of a material on a ball, for the Asset Browser, from its maps alone: no renderer, no scene, no GPU. No bpy.

One directional light and a sky over a ground, shaded with the microfacet model of Principled (GGX, Walter et al., EGSR 2007;
Schlick's approximations of shadowing and of Fresnel).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .ahead import Ahead
from .colour import linear_to_srgb

SIDE = 256
LIGHT = np.array([-0.5, 0.6, 0.62], np.float32) / np.linalg.norm([-0.5, 0.6, 0.62])
BRIGHTNESS = 2.6
SKY, GROUND = np.float32([0.75, 0.8, 0.9]), np.float32([0.22, 0.2, 0.18])
PLAIN = {"albedo": (0.6, 0.6, 0.6), "roughness": (0.5,), "metalness": (0.0,), "normals": (0.0, 0.0, 1.0)}
Pictures = Mapping[str, np.ndarray]
BALL = "ball"
PREPARED: Ahead[np.ndarray] = Ahead()


def prepare(maps: Pictures) -> None:
    """Make the ball of a result's maps now, in this thread, for the `ball_of` that will ask for it."""
    if maps:
        PREPARED.keep(next(iter(maps.values())), BALL, ball(maps))


def ball_of(maps: Pictures) -> np.ndarray:
    """What `ball` gives; at once if it was prepared."""
    prepared = PREPARED.take(next(iter(maps.values())), BALL) if maps else None
    return ball(maps) if prepared is None else prepared


def ball(maps: Pictures, side: int = SIDE) -> np.ndarray:
    """side x side x 4, display-encoded, rows from the top; alpha is 0 beside the ball.

    `maps`: wire values (albedo linear, normals -1..1, roughness, metalness), H x W x C; what is missing is plain grey.
    """
    y, x = 1.0 - 2.0 * (np.mgrid[0:side, 0:side].astype(np.float32) + 0.5) / side
    x, y = -x / 0.96, y / 0.96
    inside = x * x + y * y < 1.0
    normal = np.stack([x, y, np.sqrt(np.maximum(1.0 - x * x - y * y, 0.0))], -1)
    values = {name: _sampled(maps, name, normal) for name in PLAIN}
    light = _shaded(values, _bent(normal, values["normals"]))
    picture = np.zeros((side, side, 4), np.float32)
    picture[..., :3] = linear_to_srgb(np.clip(light, 0.0, 1.0))
    picture[..., 3] = inside
    return picture * inside[..., None]


def _sampled(maps: Pictures, name: str, normal: np.ndarray) -> np.ndarray:
    """The map wrapped around the ball, twice as often around as up."""
    picture = maps.get(name)
    if picture is None:
        return np.broadcast_to(np.float32(PLAIN[name]), (*normal.shape[:2], len(PLAIN[name])))
    height, width = picture.shape[:2]
    u = np.arctan2(normal[..., 0], np.maximum(normal[..., 2], 1e-6)) / np.pi
    v = np.arcsin(np.clip(-normal[..., 1], -1.0, 1.0)) / np.pi
    return picture[(v * height).astype(int) % height, (u * width).astype(int) % width].astype(np.float32)


def _bent(normal: np.ndarray, relief: np.ndarray) -> np.ndarray:
    """The ball's normals, bent by those of the map."""
    right = _unit(np.stack([normal[..., 2], np.zeros_like(normal[..., 0]), -normal[..., 0]], -1))
    up = np.cross(normal, right)
    return _unit(relief[..., :1] * right + relief[..., 1:2] * up + relief[..., 2:] * normal)


def _shaded(values: Pictures, normal: np.ndarray) -> np.ndarray:
    """Light towards a viewer in front."""
    albedo, metal = values["albedo"], values["metalness"]
    alpha = np.maximum(values["roughness"], 0.04) ** 2
    front = np.float32([0.0, 0.0, 1.0])
    facing, lit = (np.maximum(normal @ each, 1e-3)[..., None] for each in (front, LIGHT))
    grazing = albedo * metal + 0.04 * (1.0 - metal)
    mirrored = 2.0 * facing * normal - front
    diffuse = albedo * (1.0 - metal) * (lit * BRIGHTNESS / np.pi + _sky(normal[..., 1:2], np.float32(1.0)))
    shine = _ggx(np.maximum(normal @ _unit(LIGHT + front), 0.0)[..., None], alpha) * _visible(lit, facing, alpha)
    fresnel = grazing + (1.0 - grazing) * (1.0 - facing) ** 5 * (1.0 - alpha)
    return diffuse + fresnel * (shine * lit * BRIGHTNESS + _sky(mirrored[..., 1:2], alpha))


def _ggx(half: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return alpha**2 / (np.pi * (half**2 * (alpha**2 - 1.0) + 1.0) ** 2)


def _visible(lit: np.ndarray, facing: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Shadowing over 4 (n.l) (n.v)."""
    half = alpha / 2.0
    return 0.25 / ((lit * (1.0 - half) + half) * (facing * (1.0 - half) + half))


def _sky(height: np.ndarray, blur: np.ndarray) -> np.ndarray:
    """Sky above, ground below; the horizon is as soft as the surface is rough."""
    share = np.clip(height / (2.0 * np.maximum(blur, 0.05)) + 0.5, 0.0, 1.0)
    return GROUND + share * (SKY - GROUND)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
