# SPDX-License-Identifier: GPL-3.0-or-later
"""Light from all around, tabulated: what a bent normal on a plane seen from above reflects of an environment.

The plane and the view are fixed, so diffuse light is a function of the normal alone, and the highlight's a function
of the normal, the roughness and, linearly, of f0. Both are integrated once per environment (cosine quadrature;
filtered importance sampling of visible GGX normals, Krivanek and Colbert, EGSR 2008) and then only looked up: no
sparkle from few lights, and a sample costs milliseconds. Light from below the plane is blocked by the plane.

Directions of the upper hemisphere lie on the unit disc by Lambert's equal-area projection, (x, y) / sqrt(1 + z).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from .render import (
    LEAST_COSINE,
    LEAST_ROUGHNESS,
    Material,
    Tensor,
    camera_height,
    coat,
    dot,
    ggx,
    hammersley,
    mirror_normals,
    normalize,
    plane_points,
    sample_visible_normals,
    schlick_weight,
    smith_visibility,
    terminator,
    visible_weight,
)

# Tables have an odd size, so that the flat normal is one of their entries.
DISC = 192  # pixels across the disc of radiance: a pixel is about half a degree at the zenith
LEVELS = 6
TABLE = 65  # normals across a highlight's table
ROUGHNESSES = 12
SHARP_ROUGHNESS = 0.25  # below, a lobe is too narrow for the sum over the disc's coarse pixels
SHARP_SAMPLES = 48
ROUGH_TABLE, ROUGH_LIGHTS = 33, 64
DIFFUSE_TABLE, DIFFUSE_LIGHTS = 33, 48


@dataclass(frozen=True)
class LightTables:
    """One environment: `diffuse` 3 x D x D over normals; `specular` 6 x R x T x T over roughness and normals.

    Of the six, three are reflected with F = 1 - w and three with F = w (Schlick's weight): f0 * first + second.
    The scale is that of radiance: a flat white Lambert plane shows `diffuse` at the disc's centre.
    """

    diffuse: Tensor
    specular: Tensor

    def white(self) -> Tensor:
        """What a flat white Lambert plane shows, 3."""
        middle = self.diffuse.shape[-1] // 2
        return self.diffuse[:, middle, middle]

    def scaled(self, factor: float | Tensor) -> LightTables:
        """The same environment brighter by a factor, or coloured by three."""
        factor = torch.as_tensor(factor, dtype=torch.float32).reshape(-1, 1, 1)
        return LightTables(self.diffuse * factor, self.specular * factor.expand(3, 1, 1).repeat(2, 1, 1)[..., None])


def disc_directions(size: int) -> Tensor:
    """Unit directions of the disc's pixels, 3 x size x size; rows top-down, pixels outside show the horizon."""
    steps = (2.0 * torch.arange(size) + 1.0) / size - 1.0
    place = torch.stack([steps.expand(size, size), -steps[:, None].expand(size, size)])
    squared = (place**2).sum(0, keepdim=True)
    place = place / squared.sqrt().clamp_min(1.0)
    squared = squared.clamp_max(1.0)
    return torch.cat([place * torch.sqrt(2.0 - squared), 1.0 - squared])


def disc_grid(directions: Tensor) -> Tensor:
    """Where directions 3 x ... lie on the disc, ... x 2, as `grid_sample` wants it (its y points down)."""
    place = directions[:2] / torch.sqrt(1.0 + directions[2:].clamp_min(0.0))
    return torch.stack([place[0], -place[1]], dim=-1)


def inside_disc(size: int) -> Tensor:
    """1 where a pixel's centre lies on the disc, size x size."""
    steps = (2.0 * torch.arange(size) + 1.0) / size - 1.0
    return ((steps[:, None] ** 2 + steps**2) <= 1.0).float()


def equirectangular_grid(directions: Tensor) -> Tensor:
    """Where world directions 3 x ... (z up) lie in a panorama, ... x 2 in -1..1; +X is its middle, -Y right of it."""
    longitude = torch.atan2(directions[1], directions[0]) / math.pi
    latitude = torch.asin(directions[2].clamp(-1.0, 1.0)) * (2.0 / math.pi)
    return torch.stack([-longitude, -latitude], dim=-1)


def disc_of_environment(image: Tensor, rotation: Tensor, size: int = DISC, oversampling: int = 4) -> Tensor:
    """The hemisphere above the plane, 3 x size x size, from an equirectangular 3 x h x 2h image.

    `rotation` (3 x 3) takes the plane's directions to the world's. Many lookups per pixel keep a small sun's energy.
    """
    fine = size * oversampling
    directions = torch.einsum("ij,jyx->iyx", rotation, disc_directions(fine))
    radiance = grid_sample(
        image[None], equirectangular_grid(directions)[None], padding_mode="border", align_corners=False
    )[0]
    return avg_pool2d(radiance * inside_disc(fine), oversampling)


def pyramid(disc: Tensor) -> Tensor:
    """Ever smoother versions of the disc at its own size, 3 x LEVELS x size x size. Outside stays black, as blocked."""
    levels = [disc]
    for level in range(1, LEVELS):
        coarse = avg_pool2d(disc, 2**level)
        levels.append(interpolate(coarse[None], disc.shape[-2:], mode="bilinear", align_corners=False)[0])
    return torch.stack(levels, dim=1)


def _table_normals(size: int) -> Tensor:
    normals = disc_directions(size).flatten(1)
    return normalize(torch.cat([normals[:2], normals[2:].clamp_min(LEAST_COSINE)]))


def _lights(disc: Tensor, size: int) -> Tensor:
    """The disc as size x size lights, 3 x size^2: radiance times solid angle.

    The disc's area pi is 2 pi steradian, so that a pixel of its square of 4 units is 8 / size^2.
    """
    return avg_pool2d(disc, disc.shape[-1] // size).flatten(1) * (8.0 / size**2)


@lru_cache(maxsize=1)
def _cosine_weights() -> Tensor:
    """How much of each light each normal reflects, over pi: normals x lights."""
    towards, normals = disc_directions(DIFFUSE_LIGHTS).flatten(1), _table_normals(DIFFUSE_TABLE)
    cosine = normals.T @ towards
    return cosine.clamp_min(0.0) * terminator(normals[2][:, None], towards[2]) / math.pi


def diffuse_table(disc: Tensor) -> Tensor:
    """Irradiance / pi for every normal, 3 x DIFFUSE_TABLE x DIFFUSE_TABLE: the sum of L cos terminator."""
    return (_lights(disc, DIFFUSE_LIGHTS) @ _cosine_weights().T).reshape(3, DIFFUSE_TABLE, DIFFUSE_TABLE)


def _frame(normals: Tensor) -> tuple[Tensor, Tensor]:
    """Two tangents of unit normals 3 x n with z > 0, which complete them to frames."""
    x, y, z = normals
    share = -1.0 / (1.0 + z)
    return torch.stack([1.0 + x * x * share, x * y * share, -x]), torch.stack([x * y * share, 1.0 + y * y * share, -y])


def sharp_highlights(levels: Tensor, roughness: float, normals: Tensor) -> Tensor:
    """A narrow lobe's row of the table, 6 x n, for normals 3 x n: filtered importance sampling."""
    alpha = torch.tensor(max(roughness, LEAST_ROUGHNESS) ** 2)
    u, v = (x[None].expand(normals.shape[1], SHARP_SAMPLES) for x in hammersley(SHARP_SAMPLES))
    tangent, bitangent = _frame(normals)
    view = torch.stack([tangent[2], bitangent[2], normals[2]])[..., None].expand(-1, -1, SHARP_SAMPLES)
    half = sample_visible_normals(view, alpha, u, v)
    local = 2.0 * dot(view, half) * half - view
    light = torch.einsum("cn,ns->cns", tangent, local[0]) + torch.einsum("cn,ns->cns", bitangent, local[1])
    light = normalize(light + normals[..., None] * local[2])
    weight = _sample_weight(local[2], view[2], light[2], normals[2][:, None], alpha)
    radiance = _filtered(levels, light, half[2], view[2], alpha, SHARP_SAMPLES) * weight
    white = schlick_weight(dot(view, half))[0]
    return torch.cat([(radiance * (1.0 - white)).mean(-1), (radiance * white).mean(-1)])


@lru_cache(maxsize=ROUGHNESSES)
def _lobe_weights(roughness: float) -> Tensor:
    """How much of each light each normal reflects to the view with F = 1: normals x lights. No light is asked for."""
    alpha, normals = torch.tensor(roughness**2), _table_normals(ROUGH_TABLE)
    towards = disc_directions(ROUGH_LIGHTS).flatten(1)
    half = normalize(towards + torch.tensor([0.0, 0.0, 1.0])[:, None])
    n_dot_l, n_dot_v = normals.T @ towards, normals[2][:, None]
    cosine = n_dot_l.clamp_min(LEAST_COSINE)
    lobe = ggx((normals.T @ half).clamp(0.0, 1.0), alpha) * smith_visibility(cosine, n_dot_v, alpha) * cosine
    return lobe * terminator(n_dot_v, towards[2]) * (n_dot_l > 0)


def rough_highlights(disc: Tensor, roughness: float) -> Tensor:
    """A wide lobe's part of the table, 6 x ROUGH_TABLE x ROUGH_TABLE: the sum over the disc's pixels."""
    lights = _lights(disc, ROUGH_LIGHTS)
    half_z = torch.sqrt((1.0 + disc_directions(ROUGH_LIGHTS)[2].flatten()) / 2.0)
    white = schlick_weight(half_z)
    both = torch.cat([lights * (1.0 - white), lights * white])
    return (both @ _lobe_weights(roughness).T).reshape(6, ROUGH_TABLE, ROUGH_TABLE)


def _sample_weight(n_dot_l: Tensor, n_dot_v: Tensor, l_z: Tensor, n_z: Tensor, alpha: Tensor) -> Tensor:
    cosine = n_dot_l.clamp_min(LEAST_COSINE)
    return visible_weight(cosine, n_dot_v.clamp_min(LEAST_COSINE), alpha) * terminator(n_z, l_z) * (n_dot_l > 0)


def _filtered(levels: Tensor, light: Tensor, n_dot_h: Tensor, n_dot_v: Tensor, alpha: Tensor, samples: int) -> Tensor:
    """Radiance from `light` (3 x n x s) blurred to the solid angle that the sample stands for, 3 x n x s."""
    squared = alpha * alpha
    density = ggx(n_dot_h, alpha) / (2.0 * (n_dot_v + torch.sqrt(n_dot_v**2 * (1.0 - squared) + squared)))
    pixels = levels.shape[-1] ** 2 / (8.0 * samples * density)
    level = (0.5 * torch.log2(pixels.clamp_min(1.0))).clamp(0.0, LEVELS - 1.0)
    place = torch.cat([disc_grid(light), (level * (2.0 / (LEVELS - 1.0)) - 1.0)[..., None]], dim=-1)
    return grid_sample(levels[None], place[None, None], padding_mode="border", align_corners=True)[0, :, 0]


def specular_table(disc: Tensor) -> Tensor:
    """Highlights over roughness and normals, 6 x ROUGHNESSES x TABLE x TABLE."""
    levels, normals = pyramid(disc), _table_normals(TABLE)
    rows = []
    for roughness in (k / (ROUGHNESSES - 1.0) for k in range(ROUGHNESSES)):
        if roughness < SHARP_ROUGHNESS:
            rows.append(sharp_highlights(levels, roughness, normals).reshape(6, TABLE, TABLE))
        else:
            row = rough_highlights(disc, roughness)[None]
            rows.append(interpolate(row, (TABLE, TABLE), mode="bilinear", align_corners=False)[0])
    return torch.stack(rows, dim=1)


def light_tables(disc: Tensor) -> LightTables:
    """The tables of an environment given as a disc of radiance (`disc_of_environment`)."""
    return LightTables(diffuse_table(disc), specular_table(disc))


def _seen_normals(normals: Tensor, fov_degrees: float) -> Tensor:
    """The normals which, seen from straight above, mirror what the given ones mirror to a perspective camera."""
    if fov_degrees <= 0.0:
        return normals
    camera = torch.tensor([0.0, 0.0, camera_height(fov_degrees)])[:, None, None]
    view = normalize(camera - plane_points(*normals.shape[1:]))
    mirrored = 2.0 * dot(normals, view) * normals - view
    up = torch.tensor([0.0, 0.0, 1.0])[:, None, None]
    return normalize(torch.cat([mirrored[:2], mirrored[2:].clamp_min(0.0)]) + up)


def render_environment(material: Material, tables: LightTables, fov_degrees: float = 0.0) -> Tensor:
    """The plane under an environment, 3 x H x W; `fov_degrees` = 0 is an orthographic camera."""
    normals = material.normals
    shiny = _seen_normals(mirror_normals(normals), fov_degrees)
    parts = coat(material, shiny[2:].clamp(LEAST_COSINE, 1.0))
    arriving = grid_sample(tables.diffuse[None], disc_grid(normals)[None], padding_mode="border", align_corners=False)
    low, high = _look_up(tables.specular, shiny, material.roughness).split(3)
    return parts.diffuse * arriving[0] + (material.f0() * low + high) * parts.specular


def _look_up(table: Tensor, normals: Tensor, roughness: Tensor) -> Tensor:
    """The six values of every pixel, interpolated over normals and roughness, 6 x H x W."""
    depth = (roughness[0] * (ROUGHNESSES - 1.0) + 0.5) * (2.0 / ROUGHNESSES) - 1.0
    place = torch.cat([disc_grid(normals), depth[..., None]], dim=-1)
    return grid_sample(table[None], place[None, None], padding_mode="border", align_corners=False)[0, :, 0]
