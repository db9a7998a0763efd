# SPDX-License-Identifier: GPL-3.0-or-later
"""Neural passes of an animation made steadier with those of the frame before: kept here, moved to where things are now,
and mixed in where they fit. No bpy.

Only within one render, and only from a frame to the next: another camera, size, border or setting, a frame left out or
a render begun anew starts afresh. So what a picture is made of does not depend on what was rendered earlier.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import motion


@dataclass(frozen=True)
class Frame:
    """A frame of one view layer, as much of it as the next needs.

    `setting` is all that must not change from frame to frame, `view` where the camera stands. `picture` is Cycles' own,
    H x W x 3; `vectors` are its motion vectors (`motion`); `made` holds the neural passes by name, H x W x C each.
    """

    number: int
    setting: Any
    view: Any
    picture: np.ndarray
    vectors: np.ndarray
    made: dict[str, np.ndarray] = field(default_factory=dict)


_frames: dict[tuple[str, str], Frame] = {}


def forget() -> None:
    """Begin anew, and free the memory."""
    _frames.clear()


def steadied(place: tuple[str, str], frame: Frame, reuse: float, unit: frozenset[str] = frozenset()) -> dict[str, np.ndarray]:
    """The passes of a frame, `reuse` of them (0..1) from the frame before where that fits; kept for the next frame.

    `place` is the scene's and the view layer's name; passes named in `unit` are vectors of length one.
    """
    before = _frames.get(place)
    made = frame.made
    if before is not None and _follows(frame, before):
        weight = (reuse * fit(frame, before))[..., None]
        made = {name: _mixed(values, before.made.get(name), frame.vectors, weight) for name, values in made.items()}
        made = {name: _normalized(values) if name in unit else values for name, values in made.items()}
    _frames[place] = Frame(frame.number, frame.setting, frame.view, frame.picture, frame.vectors, made)
    return made


def _follows(frame: Frame, before: Frame) -> bool:
    same_size = frame.vectors.shape == before.vectors.shape
    return same_size and frame.number == before.number + 1 and frame.setting == before.setting


def fit(frame: Frame, before: Frame) -> np.ndarray:
    """H x W in 0..1: how far each pixel of the frame before fits. 0 where its point was not to be seen, or was lit
    otherwise; also without a surface when the camera has moved, since there are no motion vectors for that."""
    seen = motion.visible(frame.vectors, before.vectors)
    if frame.view != before.view:
        seen &= ~motion.unmoved(frame.vectors)
    return seen * motion.likeness(frame.picture, motion.warped(before.picture, frame.vectors))


def _mixed(now: np.ndarray, then: np.ndarray | None, vectors: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """An alpha, the fourth component, stays what it is."""
    if then is None:
        return now
    mixed = now.astype(np.float32)
    mixed[..., :3] += weight * (motion.warped(then[..., :3], vectors) - now[..., :3])
    return mixed


def _normalized(values: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.where(length > 1e-6, values / np.maximum(length, 1e-6), values).astype(np.float32)
