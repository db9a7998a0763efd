# SPDX-License-Identifier: GPL-3.0-or-later
"""The known parts of wanted pictures, checked."""

from __future__ import annotations

import numpy as np

from .asked import Inpaint
from .config import RequestError
from .pictures import as_picture

MOST_REPEATS = 50


def known_rows(asked: Inpaint, names: list[str], size: tuple[int, int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The known pictures by channel and the mask, H x W float32, of a run for these channels at this height and width.

    Raises `RequestError` for a channel that is not wanted, for another size, and for a mask that leaves nothing to do.
    """
    known = {name: as_picture(name, value) for name, value in asked.known.items()}
    unasked = [name for name in known if name not in names]
    if unasked:
        raise RequestError(f"A known part was given for {unasked[0]!r}, which is not requested.")
    if not 1 <= asked.repeats <= MOST_REPEATS:
        raise RequestError(f"repeats is {asked.repeats}; expected 1 to {MOST_REPEATS}.")
    mask = np.nan_to_num(np.asarray(asked.mask, np.float32)).reshape(asked.mask.shape[:2])
    for name, shape in {"mask": mask.shape, **{name: picture.shape[:2] for name, picture in known.items()}}.items():
        if shape != tuple(size):
            raise RequestError(f"{name} is {shape[1]} x {shape[0]}; expected {size[1]} x {size[0]} like the pictures.")
    if not (mask > 0).any():
        raise RequestError("The mask is empty: it is more than 0 where the picture shall be made anew.")
    return known, mask
