# SPDX-License-Identifier: GPL-3.0-or-later
"""The measures, on H x W x 3 float32 values 0..1 as they are stored (colour display-encoded, normals n * 0.5 + 0.5).

Errors pool over all pixels of all samples, as published tables do; JSON also gets the mean over samples. What torchmetrics
has is torchmetrics': mean squared error, PSNR, SSIM (Wang et al. 2004; Gaussian window of 11 pixels, mirrored borders) and
LPIPS (see `lpips`). What it has not stands here: the white point and the angles of normals.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from ..channels import normalise
from .errors import DataError

if TYPE_CHECKING:
    import torch

GOOD_ANGLE = 11.25  # degrees; the usual threshold of tables on normals
SMALLEST_SSIM_SIDE = 11  # the side of SSIM's Gaussian window
BEST_PSNR = 100.0  # of a perfect answer, so that it stays a number
_BINS_PER_DEGREE = 100


def check_library() -> None:
    """Raise DataError if torchmetrics is not installed."""
    if find_spec("torchmetrics") is None:
        raise DataError("Scores need the package torchmetrics: pip install torchmetrics.")


def rows(predicted: np.ndarray, true: np.ndarray, kind: type = np.float32) -> list[torch.Tensor]:
    """Both pictures as torchmetrics takes them, 1 x 3 x H x W."""
    import torch  # here, so that what only reads samples needs no torch

    return [torch.from_numpy(np.ascontiguousarray(x, kind)).permute(2, 0, 1)[None] for x in (predicted, true)]


def mean_squared_error(predicted: np.ndarray, true: np.ndarray) -> float:
    """Mean of (predicted - true)^2 over all values."""
    from torchmetrics.functional import mean_squared_error as measure

    return float(measure(*(x.contiguous() for x in rows(predicted, true, np.float64))))


def rmse(predicted: np.ndarray, true: np.ndarray) -> float:
    """Root mean squared error over all values."""
    return float(np.sqrt(mean_squared_error(predicted, true)))


def psnr(predicted: np.ndarray, true: np.ndarray) -> float:
    """Peak signal to noise ratio in dB for a peak of 1; 100 at most."""
    from torchmetrics.functional.image import peak_signal_noise_ratio

    return min(float(peak_signal_noise_ratio(*rows(predicted, true, np.float64), data_range=1.0)), BEST_PSNR)


def ssim(predicted: np.ndarray, true: np.ndarray) -> float | None:
    """Structural similarity, -1..1; None for a picture smaller than the measure's window."""
    if min(true.shape[:2]) < SMALLEST_SSIM_SIDE:
        return None
    from torchmetrics.functional.image import structural_similarity_index_measure

    return float(structural_similarity_index_measure(*rows(predicted, true), data_range=1.0))


def white_point(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Per channel sum(true^2) / sum(true * predicted): forgives a wrong exposure or tint; 1 where undefined."""
    products = np.sum(true * predicted, axis=(0, 1), dtype=np.float64)
    squares = np.sum(true * true, axis=(0, 1), dtype=np.float64)
    return np.divide(squares, products, out=np.ones_like(squares), where=(products > 0.0) & (squares > 0.0))


def with_white_point(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The prediction scaled by its least-squares white point; not clipped."""
    return predicted * white_point(predicted, true)


def angles(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Degrees between the normals of two encoded maps, H x W float64.

    By atan2 of cross and dot product: arccos of a float32 dot product cannot tell 0 from 0.03 degrees.
    """
    a, b = (normalise(x * 2.0 - 1.0).astype(np.float64) for x in (predicted, true))
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, axis=-1)))


@dataclass
class ErrorPool:
    """RMSE over all values of all samples. `per_sample` keeps each sample's own."""

    squared: float = 0.0
    count: int = 0
    per_sample: list[float] = field(default_factory=list)

    def add(self, predicted: np.ndarray, true: np.ndarray) -> float:
        """Takes one sample in and returns its own RMSE."""
        error = mean_squared_error(predicted, true)
        self.squared += error * true.size
        self.count += true.size
        self.per_sample.append(float(np.sqrt(error)))
        return self.per_sample[-1]

    @property
    def rmse(self) -> float:
        return float(np.sqrt(self.squared / self.count))


@dataclass
class AnglePool:
    """Mean, median and share of good angles over all pixels of all samples; the median to a hundredth of a degree."""

    total: float = 0.0
    count: int = 0
    good: int = 0
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(180 * _BINS_PER_DEGREE + 1, np.int64))

    def add(self, degrees: np.ndarray) -> None:
        """Takes the angles of one sample in."""
        self.total += float(degrees.sum())
        self.count += degrees.size
        self.good += int(np.count_nonzero(degrees < GOOD_ANGLE))
        bins = np.minimum(degrees.ravel() * _BINS_PER_DEGREE, self.histogram.size - 1).astype(np.int64)
        self.histogram += np.bincount(bins, minlength=self.histogram.size)

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def median(self) -> float:
        return (float(np.searchsorted(np.cumsum(self.histogram), (self.count + 1) // 2)) + 0.5) / _BINS_PER_DEGREE

    @property
    def share_good(self) -> float:
        return self.good / self.count
