# SPDX-License-Identifier: GPL-3.0-or-later
"""Height from normals, and back. NumPy only.

A height field h over a picture has the gradient p = -nx / nz to the right and q = -ny / nz upwards. Given
normals that a network estimated, p and q belong to no surface exactly; the height closest in the
least-squares sense solves a Poisson equation (Frankot and Chellappa, "A method for enforcing integrability
in shape from shading algorithms", PAMI 1988). Solved here on the pixel grid itself, with differences between
neighbours, so that the answer is the exact minimiser: by a cosine transform where the picture just ends
(Neumann boundary; assuming a period there bends the whole surface), by a Fourier transform where it tiles.

Units: height and distances are fractions of the image's WIDTH, so a height does not depend on resolution.
"""

from __future__ import annotations

import numpy as np

STEEPEST = 10.0  # slopes above this (84 degrees) are noise of nz near 0 and would tear the surface


def gradient_from_normals(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(dh/dx to the right, dh/dy DOWN the rows) of OpenGL normals, H x W x 3 in -1..1; each H x W float64."""
    nx, ny, nz = np.moveaxis(np.asarray(normals, np.float64), -1, 0)
    nz = np.maximum(nz, 1e-6)
    return np.clip(-nx / nz, -STEEPEST, STEEPEST), np.clip(ny / nz, -STEEPEST, STEEPEST)


def normals_from_height(height: np.ndarray, periodic: bool = False) -> np.ndarray:
    """Unit OpenGL normals, H x W x 3 float32, of a height field H x W in units of its width."""
    padded = np.pad(np.asarray(height, np.float64), 1, "wrap") if periodic else _extrapolated(height)
    width = height.shape[1]
    right = (padded[1:-1, 2:] - padded[1:-1, :-2]) * width / 2.0
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) * width / 2.0
    normals = np.stack([-right, down, np.ones_like(right)], axis=-1)
    return (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).astype(np.float32)


def _extrapolated(height: np.ndarray) -> np.ndarray:
    """One more pixel on every side, in line with the last two, so that a plane keeps its slope at the border."""
    if min(height.shape) < 2:
        return np.pad(np.asarray(height, np.float64), 1, "edge")
    return np.pad(np.asarray(height, np.float64), 1, "reflect", reflect_type="odd")


def height_from_normals(normals: np.ndarray, *, periodic: bool = False, remove_tilt: bool = False) -> np.ndarray:
    """Height H x W float32, in units of the image's width, mean 0, of OpenGL normals H x W x 3 in -1..1.

    periodic      the picture tiles: opposite borders meet (which leaves no room for a mean slope)
    remove_tilt   subtract the mean slope first: of a sample photographed slightly askew only the relief stays
    """
    right, down = gradient_from_normals(normals)
    if remove_tilt or periodic:
        right, down = right - right.mean(), down - down.mean()
    solve = _solve_periodic if periodic else _solve_bounded
    height = solve(right, down) / normals.shape[1]
    return (height - height.mean()).astype(np.float32)


def height_to_unit(height: np.ndarray) -> tuple[np.ndarray, float]:
    """(values 0..1 with 0.5 in the middle of the range, scale): height = (values - 0.5) * scale + a constant."""
    low, high = float(height.min()), float(height.max())
    scale = high - low
    if scale <= 0.0:
        return np.full_like(height, 0.5, np.float32), 0.0
    return np.clip((height - low) / scale, 0.0, 1.0).astype(np.float32), scale


def height_from_unit(values: np.ndarray, scale: float) -> np.ndarray:
    """Height around its mid level, in units of the image's width; inverts `height_to_unit` but for a constant."""
    return (values - 0.5) * scale


def _laplacian(rows: int, columns: int, turns: float) -> np.ndarray:
    """Eigenvalues 2 - 2 cos of the negative Laplacian, rows x columns; `turns` is pi (cosines) or 2 pi (Fourier)."""
    down, right = (2.0 - 2.0 * np.cos(turns * np.arange(n) / n) for n in (rows, columns))
    values = down[:, None] + right[None, :]
    values[0, 0] = 1.0  # the mean height is free
    return values


def _solve_bounded(right: np.ndarray, down: np.ndarray) -> np.ndarray:
    """The least-squares height in pixels where slopes lead from each pixel to the next, with open borders."""
    step_right = (right[:, 1:] + right[:, :-1]) / 2.0
    step_down = (down[1:] + down[:-1]) / 2.0
    source = -np.diff(np.pad(step_right, ((0, 0), (1, 1))), axis=1) - np.diff(
        np.pad(step_down, ((1, 1), (0, 0))), axis=0
    )
    spectrum = _cosine(_cosine(source).T) / _laplacian(*source.shape, np.pi).T
    return _cosine_inverse(_cosine_inverse(spectrum).T)


def _solve_periodic(right: np.ndarray, down: np.ndarray) -> np.ndarray:
    """The least-squares height in pixels where the last pixel is followed by the first."""
    step_right = (right + np.roll(right, -1, axis=1)) / 2.0
    step_down = (down + np.roll(down, -1, axis=0)) / 2.0
    source = np.roll(step_right, 1, axis=1) - step_right + np.roll(step_down, 1, axis=0) - step_down
    eigenvalues = _laplacian(*source.shape, 2.0 * np.pi)[:, : source.shape[1] // 2 + 1]
    return np.fft.irfft2(np.fft.rfft2(source) / eigenvalues, s=source.shape)


def _cosine(values: np.ndarray) -> np.ndarray:
    """DCT-II along the last axis by one FFT of the same length (Makhoul, IEEE TASSP 1980)."""
    n = values.shape[-1]
    order = np.concatenate([values[..., ::2], values[..., 1::2][..., ::-1]], axis=-1)
    return (np.fft.fft(order) * np.exp(-0.5j * np.pi * np.arange(n) / n)).real


def _cosine_inverse(spectrum: np.ndarray) -> np.ndarray:
    """The inverse of `_cosine`."""
    n = spectrum.shape[-1]
    mirrored = np.concatenate([np.zeros_like(spectrum[..., :1]), spectrum[..., :0:-1]], axis=-1)
    order = np.fft.ifft((spectrum - 1j * mirrored) * np.exp(0.5j * np.pi * np.arange(n) / n)).real
    values = np.empty_like(order)
    values[..., ::2], values[..., 1::2] = order[..., : (n + 1) // 2], order[..., (n + 1) // 2 :][..., ::-1]
    return values
