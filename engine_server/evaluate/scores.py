# SPDX-License-Identifier: GPL-3.0-or-later
"""The measures that belong to each map, pooled over samples: values, colour, normals."""

from __future__ import annotations

import numpy as np

from ..channels import CHANNELS, DISPLAY, NORMALS
from . import metrics


class ValuesScore:
    """RMSE of a map of plain values: roughness, metalness, depth, inverse shading."""

    def __init__(self):
        self.errors = metrics.ErrorPool()

    def add(self, predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
        """Takes in one sample, both H x W x 3 in 0..1, and returns its own measures."""
        return {"rmse": self.errors.add(predicted, true)}

    def summary(self) -> dict[str, float]:
        """The pooled measures of all samples so far."""
        return {"rmse": self.errors.rmse, "rmse_mean_over_samples": float(np.mean(self.errors.per_sample))}


class ColourScore(ValuesScore):
    """RMSE, the same after the white point, PSNR and SSIM (both means over samples) of display-encoded colour."""

    def __init__(self):
        super().__init__()
        self.whitened = metrics.ErrorPool()
        self.psnr: list[float] = []
        self.ssim: list[float] = []

    def add(self, predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
        measures = super().add(predicted, true)
        measures["rmse_white_point"] = self.whitened.add(metrics.with_white_point(predicted, true), true)
        measures["psnr"] = metrics.psnr(predicted, true)
        self.psnr.append(measures["psnr"])
        similarity = metrics.ssim(predicted, true)
        if similarity is not None:
            measures["ssim"] = similarity
            self.ssim.append(similarity)
        return measures

    def summary(self) -> dict[str, float]:
        pooled = super().summary() | {"rmse_white_point": self.whitened.rmse, "psnr": float(np.mean(self.psnr))}
        return pooled | ({"ssim": float(np.mean(self.ssim))} if self.ssim else {})


class NormalsScore:
    """Mean and median angle in degrees and the share under 11.25 degrees."""

    def __init__(self):
        self.pool = metrics.AnglePool()

    def add(self, predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
        """Takes in one sample, both H x W x 3 encoded n * 0.5 + 0.5, and returns its own measures."""
        degrees = metrics.angles(predicted, true)
        self.pool.add(degrees)
        own = {"mean_angle": float(degrees.mean()), "median_angle": float(np.median(degrees))}
        return own | {"share_under_11_25": float(np.mean(degrees < metrics.GOOD_ANGLE))}

    def summary(self) -> dict[str, float]:
        """The pooled measures of all pixels so far."""
        pool = self.pool
        return {"mean_angle": pool.mean, "median_angle": pool.median, "share_under_11_25": pool.share_good}


Score = ValuesScore | NormalsScore


def score_for(name: str) -> Score:
    """An empty score for a map by its channel's encoding."""
    encoding = CHANNELS[name].encoding
    if encoding is NORMALS:
        return NormalsScore()
    return ColourScore() if encoding is DISPLAY else ValuesScore()
