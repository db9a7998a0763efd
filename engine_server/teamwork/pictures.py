# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures as a team takes and gives them: H x W x 3 in 0..1, and B x 3 x H x W in -1..1 inside."""

from __future__ import annotations

import numpy as np
import torch

from .config import RequestError


def as_picture(name: str, value: np.ndarray) -> np.ndarray:
    """A given channel as H x W x 3 float32 in 0..1.

    One channel is repeated to three, alpha is dropped, NaN becomes 0, infinities and values out of range are clipped;
    uint8 counts 0..255 and uint16 0..65535. The channel `halfway` is not limited to 0..1. Raises `RequestError` naming
    the channel for any other shape or type.
    """
    value = np.asarray(value)
    if value.ndim == 2:
        value = value[..., None]
    if value.ndim != 3 or value.shape[-1] not in (1, 2, 3, 4) or 0 in value.shape:
        raise RequestError(f"The picture given for {name} has the shape {value.shape}; expected H x W or H x W x 3.")
    value = value[..., :1] if value.shape[-1] < 3 else value[..., :3]
    value = np.repeat(value, 3 // value.shape[-1], axis=-1)
    return _limited(name, _as_float(name, value))


def _as_float(name: str, value: np.ndarray) -> np.ndarray:
    if value.dtype in (np.uint8, np.uint16):
        return value.astype(np.float32) / np.iinfo(value.dtype).max
    if value.dtype == bool or np.issubdtype(value.dtype, np.floating):
        return value.astype(np.float32)
    raise RequestError(f"The picture given for {name} has the type {value.dtype}; expected uint8, uint16 or float.")


def _limited(name: str, value: np.ndarray) -> np.ndarray:
    if name == "halfway":
        return np.nan_to_num(value, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(np.nan_to_num(value, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)


def to_pixels(pictures: list[np.ndarray]) -> torch.Tensor:
    """Stack pictures to B x 3 x H x W in -1..1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) * 2 - 1


def to_pictures(pixels: torch.Tensor) -> np.ndarray:
    """B x 3 x H x W in -1..1 to B x H x W x 3 float32, clipped to 0..1."""
    return (pixels.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()


def pad(pixels: torch.Tensor, multiple: int) -> torch.Tensor:
    """Grow the right and lower side to a multiple by repeating the last pixels."""
    height, width = pixels.shape[-2:]
    grow = (0, -width % multiple, 0, -height % multiple)
    return torch.nn.functional.pad(pixels, grow, mode="replicate") if any(grow) else pixels
