# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of running jobs as icons that panels can show."""

from __future__ import annotations

import numpy as np

from .colour import linear_to_srgb
from .wire import ChannelImage

LARGEST = 192


class Previews:
    """Icons by job; made with the first of them, since nothing is loaded when the add-on registers."""

    collection = None


def show(job_id: str, picture: ChannelImage) -> None:
    """Make a picture, scene-linear, H x W x C, the icon of a job."""
    import bpy.utils.previews

    if Previews.collection is None:
        Previews.collection = bpy.utils.previews.new()
    icon = Previews.collection.get(job_id) or Previews.collection.new(job_id)
    values = _shown(picture.data)
    icon.image_size = values.shape[1], values.shape[0]
    icon.image_pixels_float.foreach_set(values[::-1].reshape(-1))


def _shown(values: np.ndarray) -> np.ndarray:
    """Display-encoded RGBA of at most `LARGEST` pixels a side, by leaving pixels out."""
    stride = -(-max(values.shape[:2]) // LARGEST)
    small = np.clip(np.nan_to_num(values[::stride, ::stride, :3].astype(np.float32)), 0.0, 1.0)
    rgba = np.ones((*small.shape[:2], 4), np.float32)
    rgba[..., :3] = linear_to_srgb(small)
    return rgba


def icon_of(job_id: str) -> int:
    """The icon of a job; 0 if it has none."""
    icon = Previews.collection.get(job_id) if Previews.collection is not None else None
    return icon.icon_id if icon is not None else 0


def drop(job_id: str) -> None:
    """The job needs no icon any more."""
    if Previews.collection is not None:
        Previews.collection.pop(job_id, None)


def close() -> None:
    """Take all icons away."""
    import bpy.utils.previews

    if Previews.collection is not None:
        bpy.utils.previews.remove(Previews.collection)
        Previews.collection = None
