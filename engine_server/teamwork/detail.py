# SPDX-License-Identifier: GPL-3.0-or-later
"""Fine detail of the photograph for an albedo that a small network has made too soft."""

from __future__ import annotations

import numpy as np

from ..colour import display_decode, display_encode
from ..upsample import box_mean

REACH = 8
"""Detail is what differs from the mean over windows of so many pixels to each side."""
FLOOR = 0.02
"""Linear light that is added before logarithms are taken, so that dark pixels' noise stays small."""


def with_detail(albedo: np.ndarray, photo: np.ndarray, share: float, periodic: bool = False) -> np.ndarray:
    """An albedo, H x W x 3 display-encoded in 0..1, with a share (0..1) of the photo's detail in place of its own.

    With logarithms of linear light a and p, and the mean M over windows: a' = a + share * (p - a - M(p - a)). Light that changes
    slowly over the picture stays out of it.
    """
    own, seen = (np.log(display_decode(picture) + np.float32(FLOOR)) for picture in (albedo, photo))
    lacking = seen - own
    fine = lacking - box_mean(box_mean(lacking, REACH, periodic), REACH, periodic)
    return display_encode(np.exp(own + np.float32(share) * fine) - np.float32(FLOOR))
