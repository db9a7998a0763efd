# SPDX-License-Identifier: GPL-3.0-or-later
"""The measures that belong to each map, pooled over samples: values, colour, normals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..channels import CHANNELS, DISPLAY, NORMALS
from . import metrics

Perceptual = Callable[[np.ndarray, np.ndarray], float | None]
"""LPIPS, or another distance of two pictures; None where one is too small for it."""


class ValuesScore:
    """RMSE of all values, and the mean over samples of PSNR, SSIM and, where it is asked for, LPIPS."""

    def __init__(self, lpips: Perceptual | None = None):
        self.errors, self.lpips = metrics.ErrorPool(), lpips
        self.means: dict[str, list[float]] = {}

    def add(self, predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
        """Takes in one sample, both H x W x 3 in 0..1, and returns its own measures; those that it is too small for are
        not among them."""
        own = {"psnr": metrics.psnr(predicted, true), "ssim": metrics.ssim(predicted, true)}
        own |= {"lpips": self.lpips(predicted, true)} if self.lpips else {}
        own = {name: value for name, value in own.items() if value is not None}
        for name, value in own.items():
            self.means.setdefault(name, []).append(value)
        return {"rmse": self.errors.add(predicted, true)} | own

    def summary(self) -> dict[str, float]:
        """The measures of all samples so far."""
        pooled = {"rmse": self.errors.rmse, "rmse_mean_over_samples": float(np.mean(self.errors.per_sample))}
        return pooled | {name: float(np.mean(values)) for name, values in self.means.items()}


class ColourScore(ValuesScore):
    """The same for display-encoded colour, and RMSE after the white point."""

    def __init__(self, lpips: Perceptual | None = None):
        super().__init__(lpips)
        self.whitened = metrics.ErrorPool()

    def add(self, predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
        whitened = self.whitened.add(metrics.with_white_point(predicted, true), true)
        return super().add(predicted, true) | {"rmse_white_point": whitened}

    def summary(self) -> dict[str, float]:
        return super().summary() | {"rmse_white_point": self.whitened.rmse}


class NormalsScore(ValuesScore):
    """The same for encoded normals, and mean and median angle in degrees and the share under 11.25 degrees."""

    def __init__(self, lpips: Perceptual | None = None):
        super().__init__(lpips)
        self.pool = metrics.AnglePool()

    def add(self, predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
        degrees = metrics.angles(predicted, true)
        self.pool.add(degrees)
        own = super().add(predicted, true) | {"mean_angle": float(degrees.mean()), "median_angle": float(np.median(degrees))}
        return own | {"share_under_11_25": float(np.mean(degrees < metrics.GOOD_ANGLE))}

    def summary(self) -> dict[str, float]:
        pool = self.pool
        angles = {"mean_angle": pool.mean, "median_angle": pool.median, "share_under_11_25": pool.share_good}
        return super().summary() | angles


def score_for(name: str, lpips: Perceptual | None = None) -> ValuesScore:
    """An empty score for a map by its channel's encoding."""
    encoding = CHANNELS[name].encoding
    return {NORMALS: NormalsScore, DISPLAY: ColourScore}.get(encoding, ValuesScore)(lpips)
