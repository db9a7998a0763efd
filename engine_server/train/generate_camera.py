# SPDX-License-Identifier: GPL-3.0-or-later
"""From radiance to a photograph's 8-bit pixels: exposure, white balance, blur, noise, a tone curve, JPEG.

About half of the pictures are clean renders in the model's plain encoding, linear ** (1/2.2); the others have a
camera's faults.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import conv2d, pad

from ..colour import display_encode, luminance

Random = np.random.Generator


def expose(radiance: np.ndarray, random: Random) -> np.ndarray:
    """Radiance (white Lambert = 1) to linear values of a picture.

    Half the time as a photographer with a grey card would: then the picture tells how bright the surface is. Else as
    an automatic camera does, by the picture's own brightness. Some are too dark or too bright.
    """
    if random.random() < 0.6:
        return radiance * np.float32(0.9 * 2.0 ** random.normal(0.0, 0.45))
    bright = max(float(np.percentile(luminance(radiance), random.choice([50.0, 90.0, 99.0], p=[0.3, 0.4, 0.3]))), 1e-4)
    target = {True: random.uniform(0.2, 0.9), False: random.uniform(0.05, 1.6)}[random.random() < 0.85]
    return radiance * np.float32(np.clip(target / bright, 0.15, 8.0))


def white_balance(linear: np.ndarray, random: Random) -> np.ndarray:
    """A slight wrong colour temperature and tint."""
    warmth, tint = random.normal(0.0, 0.06), random.normal(0.0, 0.025)
    return linear * np.exp(np.float32([warmth, tint, -warmth]))


def blur(linear: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian of `sigma` pixels, at most 1."""
    weights = torch.exp(-0.5 * (torch.arange(-3, 4) / sigma) ** 2)
    kernel = (weights / weights.sum()).expand(3, 1, 1, 7).contiguous()
    picture = pad(torch.from_numpy(linear).permute(2, 0, 1)[None], (3, 3, 3, 3), mode="reflect")
    smooth = conv2d(conv2d(picture, kernel, groups=3), kernel.transpose(2, 3), groups=3)
    return smooth[0].permute(1, 2, 0).numpy()


def sensor_noise(linear: np.ndarray, random: Random) -> np.ndarray:
    """Photon noise (variance in proportion to light) and read noise."""
    shot, read = 10.0 ** random.uniform(-4.5, -2.8), 10.0 ** random.uniform(-3.5, -2.0)
    spread = np.sqrt(np.maximum(linear, 0.0) * shot + read * read)
    return linear + spread * random.standard_normal(linear.shape, np.float32)


def tone(linear: np.ndarray, random: Random) -> np.ndarray:
    """Display values 0..1 by the plain power, sometimes by sRGB's curve or with a camera's contrast."""
    kind = random.random()
    clipped = np.clip(linear, 0.0, 1.0)
    if kind < 0.7:
        return display_encode(clipped)
    encoded = np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055)
    if kind < 0.85:
        return encoded
    curve = encoded * encoded * (3.0 - 2.0 * encoded)
    return encoded + (curve - encoded) * random.uniform(0.1, 0.6)


def to_bytes(encoded: np.ndarray) -> np.ndarray:
    """0..1 to 0..255, rounded."""
    return np.rint(np.clip(encoded, 0.0, 1.0) * 255.0).astype(np.uint8)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """The picture after a lossy compression."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        return np.asarray(image)


def photograph(radiance: np.ndarray, random: Random) -> np.ndarray:
    """Radiance H x W x 3 to 8-bit pixels."""
    linear = expose(radiance.astype(np.float32), random)
    if random.random() < 0.5:
        return to_bytes(display_encode(linear))
    linear = white_balance(linear, random) if random.random() < 0.6 else linear
    linear = blur(linear, random.uniform(0.3, 0.8)) if random.random() < 0.3 else linear
    linear = sensor_noise(linear, random) if random.random() < 0.6 else linear
    pixels = to_bytes(tone(linear, random))
    return jpeg(pixels, int(random.integers(60, 101))) if random.random() < 0.5 else pixels
