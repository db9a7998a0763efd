# SPDX-License-Identifier: GPL-3.0-or-later
"""The equations that relate channels to each other. NumPy only; one equation, one function.

Everything here is in linear light unless a name says `encoded`. Arrays are H x W x 3 float (colour)
or H x W (depth). Equations are those of Sartor and Peers, "Teamwork: Collaborative Diffusion with
Low-rank Coordination and Adaptation", SIGGRAPH Asia 2025, unless a docstring names another source.
"""

from __future__ import annotations

import numpy as np

DISPLAY_POWER = 2.2
DIELECTRIC_F0 = 0.04  # reflectance of a dielectric at normal incidence, index of refraction 1.5
LARGEST_INVERSE_SHADING = 0.9999  # keeps s / (1 - s) below 10,000
BACKGROUND_DEPTH = 1e9  # renderers write 1e10 where a ray hits nothing
OVER_RANGE = 1e-3  # the share of pixels above 1 from which on an image begins to count as over range
LUMINANCE_WEIGHTS = np.array([0.2126, 0.7152, 0.0722], np.float32)  # Rec.709


def finite(array: np.ndarray) -> np.ndarray:
    """The array as float32 with NaN and both infinities replaced by 0."""
    return np.nan_to_num(np.asarray(array, np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def display_encode(linear: np.ndarray) -> np.ndarray:
    """Linear light to display values 0..1 by a plain power 1/2.2 (not the piecewise sRGB curve)."""
    return np.clip(linear, 0.0, 1.0) ** np.float32(1.0 / DISPLAY_POWER)


def display_decode(encoded: np.ndarray) -> np.ndarray:
    """Display values 0..1 to linear light; the inverse of `display_encode` on 0..1."""
    return np.clip(encoded, 0.0, 1.0) ** np.float32(DISPLAY_POWER)


def luminance(linear: np.ndarray) -> np.ndarray:
    """Relative luminance of Rec.709 colour, H x W x 3 -> H x W."""
    return linear[..., :3] @ LUMINANCE_WEIGHTS


def exposure_factor(linear: np.ndarray, target: float = 0.8, most: float = 16.0, least: float = 0.0) -> float:
    """The factor that brings the 95th percentile of luminance to `target`, for an over-range image only; and one that is
    darker than `least` up to that.

    An image counts as over range, by degrees, when from one pixel in a thousand to one in a hundred are above 1 in some
    component: a highlight that grows in an animation must not change all at once. With fewer an image is as it is, so that an
    ordinary photograph keeps its exposure; a few fireflies neither trigger nor steer it. `most` bounds the factor (4 stops)
    for an image that is black but for a few lamps.
    """
    linear = finite(linear)[..., :3]
    bright = max(float(np.percentile(luminance(linear), 95.0)), 1e-12)
    above = max(float(np.mean(linear.max(axis=-1) > 1.0)), 1e-12)
    over = min(max(np.log10(above / OVER_RANGE), 0.0), 1.0)
    as_it_is, tamed = max(1.0, min(least / bright, most)), min(target / bright, most)
    return float(as_it_is ** (1.0 - over) * tamed**over)


def inverse_shading(image: np.ndarray, albedo: np.ndarray) -> np.ndarray:
    """image / (albedo + image), 0..1; 0 where both are black."""
    total = np.asarray(albedo + image)
    return np.divide(image, total, out=np.zeros_like(total), where=total > 0.0)


def shading_from_inverse(inverse: np.ndarray) -> np.ndarray:
    """Shading s / (1 - s), with s <= 0.9999 so that the result is finite; the inverse of shading -> s."""
    inverse = np.clip(inverse, 0.0, LARGEST_INVERSE_SHADING)
    return inverse / (1.0 - inverse)


def inverse_from_shading(shading: np.ndarray) -> np.ndarray:
    """shading / (1 + shading): the inverse shading of a surface whose image is albedo * shading."""
    shading = np.maximum(shading, 0.0)
    return shading / (1.0 + shading)


def recompose(diffuse: np.ndarray, diffuse_shading: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """image = diffuse * diffuseshading + residual."""
    return diffuse * diffuse_shading + residual


def residual(image: np.ndarray, diffuse: np.ndarray, diffuse_shading: np.ndarray) -> np.ndarray:
    """What diffuse reflection does not explain: image - diffuse * diffuseshading. May be negative."""
    return image - diffuse * diffuse_shading


def base_colour_from_albedo(albedo: np.ndarray, metalness: np.ndarray) -> np.ndarray:
    """albedo' = albedo - 0.04 (1 - m): the base colour where albedo = diffuse + specular."""
    return albedo - DIELECTRIC_F0 * (1.0 - metalness)


def albedo_from_base_colour(base_colour: np.ndarray, metalness: np.ndarray) -> np.ndarray:
    """albedo = albedo' + 0.04 (1 - m): the sum of diffuse and specular; the inverse of `base_colour_from_albedo`."""
    return base_colour + DIELECTRIC_F0 * (1.0 - metalness)


def specular_from_metalness(base_colour: np.ndarray, metalness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(diffuse, specular) of a base colour and a metalness: clip(c) (1 - m) and c m + 0.04 (1 - m).

    `metalness` is H x W x 1 (or broadcasts), 0..1. A `base_colour` from `base_colour_from_albedo` may be a
    little negative, hence the clip.
    """
    diffuse = np.clip(base_colour, 0.0, 1.0) * (1.0 - metalness)
    return diffuse, base_colour * metalness + DIELECTRIC_F0 * (1.0 - metalness)


def solve_metalness(diffuse: np.ndarray, specular: np.ndarray) -> np.ndarray:
    """Metalness of scalar reflectances, 0..1: the root of f m^2 + (d + s - 2 f) m + f - s = 0, with f = 0.04.

    The equation follows from d = c (1 - m) and s = c m + f (1 - m) by eliminating the base colour c; it is the
    quadratic of Khronos' KHR_materials_pbrSpecularGlossiness conversion. With s >= f and d >= 0 just one root
    is in 0..1. Below f there are two or none (a metal darker than glass); as there, the answer is then 0.
    """
    linear_term = diffuse + specular - 2.0 * DIELECTRIC_F0
    constant = DIELECTRIC_F0 - specular
    root = np.sqrt(np.maximum(linear_term**2 - 4.0 * DIELECTRIC_F0 * constant, 0.0))
    metalness = (root - linear_term) / (2.0 * DIELECTRIC_F0)
    return np.where(specular <= DIELECTRIC_F0, 0.0, np.clip(metalness, 0.0, 1.0))


def metalness_from_specular(diffuse: np.ndarray, specular: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(base colour H x W x 3, metalness H x W x 1): the exact inverse of `specular_from_metalness`.

    The quadratic is linear in diffuse and specular but for m, so it also holds for their means over red,
    green and blue: one metalness fits all three. The base colour is then d + s - f (1 - m), clipped to 0..1.
    """
    mean = [np.mean(np.asarray(x, np.float64), axis=-1, keepdims=True) for x in (diffuse, specular)]
    metalness = solve_metalness(*mean)
    base_colour = base_colour_from_albedo(np.asarray(diffuse + specular, np.float64), metalness)
    return np.clip(base_colour, 0.0, 1.0).astype(np.float32), metalness.astype(np.float32)


def gltf_metalness_from_specular(diffuse: np.ndarray, specular: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `metalness_from_specular`, for glTF's materials, where d = c (1 - f) (1 - m).

    The dielectric's diffuse part is dimmed there by what its surface reflects; undoing that first leaves the
    same equations. Use it for maps of KHR_materials_pbrSpecularGlossiness, not for those of a Teamwork team.
    """
    return metalness_from_specular(diffuse / (1.0 - DIELECTRIC_F0), specular)


def _directions(target: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Unit vectors from each point to `target`."""
    away = target - points
    return away / np.linalg.norm(away, axis=-1, keepdims=True)


def halfway(height: int, width: int, fov_degrees: float, camera=None, light=None) -> np.ndarray:
    """The halfway channel of a flat sample, H x W x 3: wi + wo, NOT normalised, components -2..2.

    The sample is the plane z = 0 with x = (2 (j + 0.5) - W) / H and y = 1 - 2 (i + 0.5) / H; of a square that is the
    published x = 2 (j + 0.5) / H - 1, and of any other the middle stays the middle. `camera` and `light` are positions
    (x, y, z) in the same units; without them both stand at z = 1 / tan(fov / 2), as with a flash beside the lens.
    `fov_degrees` is the camera's vertical field of view.
    """
    above = (0.0, 0.0, 1.0 / np.tan(np.radians(fov_degrees) / 2.0))
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    points = np.stack([(2.0 * columns - width) / height, 1.0 - 2.0 * rows / height, np.zeros_like(rows)], axis=-1)
    stands = [np.asarray(above if place is None else place, float) for place in (light, camera)]
    return sum(_directions(stand, points) for stand in stands).astype(np.float32)


def is_foreground(depth: np.ndarray) -> np.ndarray:
    """True where a depth is a surface: finite and below 1e9."""
    return np.isfinite(depth) & (depth < BACKGROUND_DEPTH)


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """(near, far): the 1st and 99th percentile of the foreground; (0, 1) without any foreground."""
    surface = depth[is_foreground(depth)]
    if surface.size == 0:
        return 0.0, 1.0
    near, far = np.percentile(surface.astype(np.float64), (1.0, 99.0))
    return float(near), float(far)


def depth_encode(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Depth to 0 at `near`, 1 at `far`, clipped; the background is 1."""
    scaled = (np.where(is_foreground(depth), depth, far) - near) / max(far - near, 1e-12)
    return np.where(is_foreground(depth), np.clip(scaled, 0.0, 1.0), 1.0).astype(np.float32)


def depth_decode(encoded: np.ndarray, near: float, far: float) -> np.ndarray:
    """0..1 back to depth in the units of `near` and `far`; the inverse of `depth_encode` between them."""
    return near + np.clip(encoded, 0.0, 1.0) * (far - near)
