# SPDX-License-Identifier: GPL-3.0-or-later
"""Importing PyTorch and diffusers in less time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage meanwhile: imports make a million objects that stay, and next to none that go.

    Looking through them time and again takes a fifth of a start. Not for reading weights: what a cycle of references
    keeps there may be gigabytes.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            _take_for_old()
            gc.enable()


def _take_for_old() -> None:
    """Have all objects looked through as rarely as old ones are, without the three rounds that make them old."""
    if gc.get_freeze_count() == 0:  # else somebody has frozen objects, which shall stay so
        gc.freeze()
        gc.unfreeze()
