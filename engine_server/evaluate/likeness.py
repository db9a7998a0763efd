# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a picture shows what another one shows: normalised cross-correlation of its middle with every place, turn and mirror image.

Brightness alone is compared, without its mean and strength, so that a copy in other colours is found, too.
(Lewis, "Fast Normalized Cross-Correlation", Vision Interface 1995.)
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..upsample import reduce_area

LOOK, PIECE = 64, 32
"""Pixels a side at which pictures are compared, and of the middle that is looked for."""
FLAT = 0.01
"""Places whose brightness has a smaller standard deviation show nothing."""


class Gallery:
    """Pictures, H x W x 3 in 0..1, among which the most similar one is looked for."""

    def __init__(self, pictures: Iterable[np.ndarray]) -> None:
        rows = np.stack([_small(picture) for picture in pictures])
        self.spectra = np.fft.rfft2(rows)
        sums, squares = (_windows(values) for values in (rows, rows * rows))
        area = PIECE * PIECE
        spread = np.maximum(squares - sums * sums / area, 0.0)
        self.scale = np.where(spread > FLAT * FLAT * area, 1.0 / np.sqrt(np.maximum(spread, 1e-12)), 0.0)

    def nearest(self, picture: np.ndarray) -> tuple[float, int]:
        """(likeness, which): 1 for a picture that is there, whatever its colours, turn or place; 0 for one that is like none."""
        begin = (LOOK - PIECE) // 2
        piece = _small(picture)[begin : begin + PIECE, begin : begin + PIECE]
        piece = piece - piece.mean()
        strength = float(np.sqrt(np.sum(piece * piece)))
        if strength <= FLAT * PIECE:
            return 0.0, 0
        best = np.max([self._likest(turned / strength) for turned in _turned(piece)], axis=0)
        return float(best.max()), int(best.argmax())

    def _likest(self, piece: np.ndarray) -> np.ndarray:
        """Of each picture the place that is most like the piece."""
        wide = np.zeros((LOOK, LOOK))
        wide[:PIECE, :PIECE] = piece
        found = np.fft.irfft2(self.spectra * np.fft.rfft2(wide).conj(), s=(LOOK, LOOK))
        places = LOOK - PIECE + 1
        return (found[:, :places, :places] * self.scale).max(axis=(1, 2))


def _small(picture: np.ndarray) -> np.ndarray:
    """Brightness, LOOK x LOOK."""
    return reduce_area(np.asarray(picture, np.float32), LOOK, LOOK).mean(-1).astype(np.float64)


def _windows(rows: np.ndarray) -> np.ndarray:
    """Sums over all windows of PIECE x PIECE."""
    for axis in (1, 2):
        sums = np.cumsum(rows, axis=axis)
        sums = np.concatenate([np.zeros_like(sums.take([0], axis)), sums], axis=axis)
        rows = sums.take(range(PIECE, LOOK + 1), axis) - sums.take(range(LOOK - PIECE + 1), axis)
    return rows


def _turned(piece: np.ndarray) -> list[np.ndarray]:
    """All quarter turns, and their mirror images."""
    return [np.rot90(side, k) for side in (piece, piece[:, ::-1]) for k in range(4)]
