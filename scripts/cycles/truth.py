# SPDX-License-Identifier: GPL-3.0-or-later
"""From Cycles' passes to a training sample: pictures in the model's encoding, 8 bits."""

from __future__ import annotations

import numpy as np

from engine_server import channels, colour

from .rendering import diffuse_light

BRIGHT = 0.45  # where the 95th percentile of an image's luminance is put, on average; its light is brighter


def camera_normals(normals: np.ndarray, rotation: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """World normals H x W x 3 to unit camera normals (OpenGL); (0, 0, 1) where there is no surface.

    `rotation` is the camera's 3 x 3 world matrix: its columns are the camera's axes, right, up and backwards.
    """
    turned = channels.normalise(normals[..., :3] @ rotation.astype(np.float32))
    return np.where(surface, turned, channels.FLAT_NORMAL)


def exposure(image: np.ndarray, random: np.random.Generator) -> float:
    """A factor that makes a render about as bright as a photograph, varied over almost three stops.

    Followed by `colour.exposure_factor`, as everything that an engine is given.
    """
    bright = max(float(np.percentile(colour.luminance(image), 95.0)), 1e-6)
    factor = BRIGHT / bright * 2.0 ** float(random.uniform(-1.3, 1.3))
    return factor * colour.exposure_factor(image * factor)


def to_bytes(encoded: np.ndarray) -> np.ndarray:
    """0..1 to uint8; one component becomes a grey picture H x W."""
    pixels = np.round(np.clip(encoded, 0.0, 1.0) * 255.0).astype(np.uint8)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def sample(
    passes: dict[str, np.ndarray], noisy: np.ndarray, rotation: np.ndarray, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """`{channel: uint8}` of a scene: `passes` of the clean render and the combined pass of a `noisy` one.

    Beside the channels' own names, `noisy` is the image with few samples. One exposure holds for image, noisy,
    diffuseshading and inverseshading. The background's albedo, roughness and metalness are 0.
    """
    image = colour.finite(passes["Combined"][..., :3])
    depth = passes["Depth"][..., :1]
    light = passes["Composite"][..., :3] if "Composite" in passes else diffuse_light(passes)
    factor = np.float32(exposure(image, random))
    albedo = np.clip(colour.finite(passes["albedo"][..., :3]), 0.0, 1.0)
    normals = camera_normals(colour.finite(passes["Normal"]), rotation, colour.is_foreground(depth))
    encoded = {
        "image": colour.display_encode(image * factor),
        "noisy": colour.display_encode(colour.finite(noisy[..., :3]) * factor),
        "albedo": colour.display_encode(albedo),
        "normals": channels.normals_encode(normals),
        "depth": colour.depth_encode(depth, *colour.depth_range(depth)),
        "roughness": passes["roughness"],
        "metalness": passes["metalness"],
        "diffuseshading": colour.display_encode(colour.finite(light) * factor),
        "inverseshading": colour.inverse_shading(np.maximum(image * factor, 0.0), albedo),
    }
    return {name: to_bytes(values) for name, values in encoded.items()}
