# SPDX-License-Identifier: GPL-3.0-or-later
"""What another thread has made of an array before the main thread asks for it; gone with the array. No bpy."""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

import numpy as np

Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """Things by the array that they were made of, while that lives, and by their kind."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, str], tuple[weakref.ref, Made]] = {}

    def keep(self, array: np.ndarray, kind: str, made: Made) -> None:
        """Until it is taken, or the array is gone."""
        key = id(array), kind
        self._made[key] = weakref.ref(array, lambda _: self._made.pop(key, None)), made

    def take(self, array: np.ndarray, kind: str) -> Made | None:
        """What was kept, once; None if nothing was."""
        reference, made = self._made.pop((id(array), kind), (None, None))
        return made if reference is not None and reference() is array else None

    def __len__(self) -> int:
        return len(self._made)
