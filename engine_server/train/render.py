# SPDX-License-Identifier: GPL-3.0-or-later
"""A physically based renderer of flat material planes seen from straight above, under a flash or an environment.

Tensors are C x H x W float32, colours scene-linear. The plane is z = 0 with +X right, +Y up and +Z to the camera;
it spans y from -1 to 1 and, with square pixels, x from -W/H to W/H. The reflection is that of Blender's Principled
BSDF (metalness workflow, base settings): Lambert under a GGX coat with F0 = 0.04, or a GGX metal, both with
compensation of multiple scattering. Radiance is in units of what a white Lambert surface would send back from the
plane's centre, so that an exposure of 1 shows the base colour there.

    D   GGX (Trowbridge-Reitz), alpha = roughness^2      Walter et al., EGSR 2007
    V   height-correlated Smith visibility               Heitz, JCGT 2014
    F   Schlick's Fresnel                                Schlick, Eurographics 1994
    multiple scattering    Turquin, "Practical multiple scattering compensation for microfacet models", 2019, with the
                           colour of Kulla and Conty, "Revisiting physically based shading at Imageworks", 2017
    terminator of a bent normal  Estevez, Lecocq, Stein, "A microfacet-based shadowing function to solve the bump
                           terminator problem", Ray Tracing Gems, 2019
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.nn.functional import grid_sample

from ..colour import DIELECTRIC_F0

Tensor = torch.Tensor
LEAST_ROUGHNESS = 0.03  # a perfect mirror has no finite density
LEAST_COSINE = 1e-3
# A reflection must leave the surface: seen from above, this is the z of the most bent normal whose mirror
# direction is 0.01 above the horizon, where Blender's renderer, too, stops bending for highlights.
STEEPEST_MIRROR = math.sqrt((1.0 + 0.01) / 2.0)


@dataclass(frozen=True)
class Material:
    """The maps of a plane: base colour 3 x H x W linear 0..1, unit normals 3 x H x W (OpenGL), the others 1 x H x W."""

    base_colour: Tensor
    normals: Tensor
    roughness: Tensor
    metalness: Tensor

    def f0(self) -> Tensor:
        """Reflectance at normal incidence, 3 x H x W: 0.04 (1 - m) + c m."""
        return DIELECTRIC_F0 + (self.base_colour - DIELECTRIC_F0) * self.metalness

    def diffuse(self) -> Tensor:
        """Diffuse reflectance before the coat takes its part, 3 x H x W: c (1 - m)."""
        return self.base_colour * (1.0 - self.metalness)


@dataclass(frozen=True)
class Flash:
    """A camera at (0, 0, 1/tan(fov/2)) and a spherical light beside it; lengths in half heights of the plane.

    `offset` is the light's place relative to the camera, `radius` its size.
    """

    fov_degrees: float = 40.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 0.0

    def camera(self) -> Tensor:
        """The camera's position, 3."""
        return torch.tensor([0.0, 0.0, camera_height(self.fov_degrees)])

    def light(self) -> Tensor:
        """The light's position, 3."""
        return self.camera() + torch.tensor(self.offset)


def camera_height(fov_degrees: float) -> float:
    """The distance from which a vertical field of view just holds the plane: 1 / tan(fov / 2)."""
    return 1.0 / math.tan(math.radians(fov_degrees) / 2.0)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The inner product over the first axis, which is kept: 3 x ... -> 1 x ..."""
    return (a * b).sum(0, keepdim=True)


def normalize(vectors: Tensor) -> Tensor:
    """Vectors 3 x ... at unit length. (torch's own norm over a leading axis is ten times slower on a CPU.)"""
    return vectors * torch.rsqrt(dot(vectors, vectors).clamp_min(1e-20))


def plane_points(height: int, width: int) -> Tensor:
    """The pixels' centres on the plane, 3 x H x W."""
    x = (2.0 * torch.arange(width) + 1.0 - width) / height
    y = (height - 1.0 - 2.0 * torch.arange(height)) / height
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width), torch.zeros(height, width)])


def ggx(n_dot_h: Tensor, alpha: Tensor) -> Tensor:
    """The GGX density of facet normals, per steradian."""
    squared = alpha * alpha
    return squared / (math.pi * (n_dot_h * n_dot_h * (squared - 1.0) + 1.0) ** 2)


def smith_visibility(n_dot_l: Tensor, n_dot_v: Tensor, alpha: Tensor) -> Tensor:
    """The height-correlated masking and shadowing G2 / (4 n.l n.v)."""
    squared = alpha * alpha
    to_light = n_dot_v * torch.sqrt(n_dot_l * n_dot_l * (1.0 - squared) + squared)
    to_view = n_dot_l * torch.sqrt(n_dot_v * n_dot_v * (1.0 - squared) + squared)
    return 0.5 / (to_light + to_view)


def schlick_weight(cosine: Tensor) -> Tensor:
    """(1 - cos)^5, the share of white in Schlick's F = f0 (1 - w) + w."""
    away = (1.0 - cosine).clamp(0.0, 1.0)
    return away * away * away * away * away


def terminator(n_dot_z: Tensor, l_dot_z: Tensor) -> Tensor:
    """How much of a light above the plane reaches a bent normal: 2 / (1 + sqrt(1 + a^2 tan^2 l)), 0 from below.

    The bend stands for facets of a^2 = tan^2 n / 8, at most 1, which shadow each other as GGX does.
    """
    facets = (0.125 * squared_tangent(n_dot_z)).clamp_max(1.0)
    return (l_dot_z > 0) * 2.0 / (1.0 + torch.sqrt(1.0 + facets * squared_tangent(l_dot_z)))


def squared_tangent(cosine: Tensor) -> Tensor:
    """tan^2 of an angle from its cosine."""
    return 1.0 / (cosine * cosine).clamp_min(LEAST_COSINE**2) - 1.0


def mirror_normals(normals: Tensor) -> Tensor:
    """Normals for highlights: those too steep to mirror anything above the plane are bent up to where they do."""
    xy, z = normals[:2], normals[2:]
    reach = math.sqrt(1.0 - STEEPEST_MIRROR**2) * torch.rsqrt(dot(xy, xy).clamp_min(1e-12))
    steep = z < STEEPEST_MIRROR
    return torch.cat([torch.where(steep, xy * reach, xy), z.clamp_min(STEEPEST_MIRROR)])


def sample_visible_normals(view: Tensor, alpha: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Facet normals that `view` (3 x ..., z = the surface normal) sees, by u, v in 0..1; Dupuy and Benyoub, 2023."""
    stretched = normalize(torch.cat([view[:2] * alpha, view[2:]]))
    z = (1.0 - v) * (1.0 + stretched[2]) - stretched[2]
    radius, phi = torch.sqrt((1.0 - z * z).clamp_min(0.0)), 2.0 * math.pi * u
    cap = torch.stack([radius * torch.cos(phi), radius * torch.sin(phi), z]) + stretched
    return normalize(torch.cat([cap[:2] * alpha, cap[2:].clamp_min(1e-6)]))


def hammersley(count: int) -> tuple[Tensor, Tensor]:
    """`count` evenly spread points of the unit square."""
    index = torch.arange(count, dtype=torch.float64)
    reverse, digit, rest = torch.zeros(count, dtype=torch.float64), 0.5, torch.arange(count)
    while bool((rest > 0).any()):
        reverse, digit, rest = reverse + digit * (rest % 2), digit / 2.0, rest // 2
    return ((index + 0.5) / count).float(), reverse.float()


@lru_cache(maxsize=1)
def directional_albedo_table(size: int = 32, samples: int = 1024) -> Tensor:
    """3 x size (roughness) x size (cosine): what a GGX surface of F = 1 - w and of F = w reflects of a white world.

    The sum of both is the albedo E without multiple scattering; f0 * first + second is that of Schlick's Fresnel.
    The third is E's mean over the hemisphere, 2 int E(cos) cos dcos, which depends on the roughness alone.
    """
    steps = torch.linspace(0.0, 1.0, size)
    alpha = (steps.clamp_min(LEAST_ROUGHNESS) ** 2)[:, None, None]
    cosine = steps.clamp_min(0.01)[None, :, None]
    u, v = (x.expand(size, size, samples) for x in hammersley(samples))
    zero = torch.zeros(size, size, samples)
    view = torch.stack([torch.sqrt(1.0 - cosine**2) + zero, zero, cosine + zero])
    half = sample_visible_normals(view, alpha, u, v)
    light_z = 2.0 * dot(view, half) * half[2:] - view[2:]
    weight = torch.where(light_z > 0, visible_weight(light_z.clamp_min(1e-6), cosine[None], alpha[None]), 0.0)[0]
    white = schlick_weight(dot(view, half))[0]
    low, high = (weight * (1.0 - white)).mean(-1), (weight * white).mean(-1)
    average = 2.0 * torch.trapezoid((low + high) * steps, steps)[:, None]
    return torch.stack([low, high, average.expand(size, size)])


def visible_weight(n_dot_l: Tensor, n_dot_v: Tensor, alpha: Tensor) -> Tensor:
    """G2 / G1(view): the weight of a light direction found by `sample_visible_normals`."""
    lambda_v = torch.sqrt(n_dot_v * n_dot_v * (1.0 - alpha**2) + alpha**2)
    return 2.0 * n_dot_l * (n_dot_v + lambda_v) * smith_visibility(n_dot_l, n_dot_v, alpha)


def directional_albedo(n_dot_v: Tensor, roughness: Tensor) -> Tensor:
    """`directional_albedo_table` at 1 x H x W cosines and roughnesses: 3 x H x W."""
    where = torch.stack([n_dot_v[0], roughness[0]], dim=-1) * 2.0 - 1.0
    table = directional_albedo_table()[None]
    return grid_sample(table, where[None], mode="bilinear", padding_mode="border", align_corners=True)[0]


@dataclass(frozen=True)
class Coat:
    """What the view direction alone decides: how much the coat leaves for diffuse, how much scatters again."""

    diffuse: Tensor  # 3 x H x W diffuse reflectance under the coat
    specular: Tensor  # 3 x H x W factor on single-scattering reflection


def coat(material: Material, n_dot_v: Tensor) -> Coat:
    """The layering of diffuse below the GGX coat, and the compensation 1 + F_ms (1 - E) / E."""
    low, high, average = directional_albedo(n_dot_v, material.roughness).split(1)
    missing = (1.0 - low - high).clamp_min(0.0) / (low + high)
    taken = (DIELECTRIC_F0 * low + high) * (1.0 + multiple_fresnel(DIELECTRIC_F0, average) * missing)
    return Coat(material.diffuse() * (1.0 - taken), 1.0 + multiple_fresnel(material.f0(), average) * missing)


def multiple_fresnel(f0: Tensor | float, average_albedo: Tensor) -> Tensor:
    """F_ms = F E / (1 - F (1 - E)): the colour of light that facets scatter more than once, over one reflection's.

    F = f0 + (1 - f0) / 21 is the mean of Schlick's Fresnel, E the mean albedo of a white surface.
    """
    mean = f0 + (1.0 - f0) / 21.0
    return mean * average_albedo / (1.0 - mean * (1.0 - average_albedo))


def reflect_light(material: Material, to_view: Tensor, to_light: Tensor, widening: float = 0.0) -> Tensor:
    """pi f cos, 3 x H x W: radiance from one light of unit irradiance/pi, for unit 3 x H x W directions.

    `widening` is added to alpha: it stands for the light's size.
    """
    lit = dot(material.normals, to_light)
    reached = terminator(material.normals[2:], to_light[2:])
    shiny = mirror_normals(material.normals)
    n_dot_v = dot(shiny, to_view).clamp(LEAST_COSINE, 1.0)
    parts = coat(material, n_dot_v)
    specular = specular_lobe(material, shiny, to_view, to_light, widening) * parts.specular
    return parts.diffuse * (lit.clamp_min(0.0) * reached) + specular


def specular_lobe(material: Material, normals: Tensor, to_view: Tensor, to_light: Tensor, widening: float) -> Tensor:
    """pi D V F cos of single scattering, 3 x H x W, zero for light from below `normals` or the plane."""
    alpha = (material.roughness.clamp_min(LEAST_ROUGHNESS) ** 2 + widening).clamp_max(1.0)
    half = normalize(to_view + to_light)
    n_dot_l, n_dot_v = dot(normals, to_light), dot(normals, to_view).clamp(LEAST_COSINE, 1.0)
    cosine = n_dot_l.clamp_min(LEAST_COSINE)
    lobe = ggx(dot(normals, half).clamp(0.0, 1.0), alpha) * smith_visibility(cosine, n_dot_v, alpha) * cosine
    lobe = lobe * (n_dot_l > 0) * terminator(normals[2:], to_light[2:])
    white, f0 = schlick_weight(dot(to_view, half)), material.f0()
    return (f0 + (1.0 - f0) * white) * (math.pi * lobe)


def render_flash(material: Material, flash: Flash) -> Tensor:
    """The plane lit by a flash near the camera, 3 x H x W; the light falls off with the squared distance."""
    points = plane_points(*material.normals.shape[1:])
    away, to_view = flash.light()[:, None, None] - points, flash.camera()[:, None, None] - points
    squared = dot(away, away)
    height = float(flash.light()[2])
    radiance = reflect_light(material, normalize(to_view), away / torch.sqrt(squared), flash.radius / (2.0 * height))
    return radiance * (height**2 / squared)
