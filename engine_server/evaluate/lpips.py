# SPDX-License-Identifier: GPL-3.0-or-later
"""LPIPS (Zhang et al. 2018) with AlexNet, as published tables have it: torchmetrics' on torchvision's network.

It is left out unless it is asked for, since AlexNet's weights have to be fetched; asked for, it is there or a sentence is.
"""

from __future__ import annotations

import warnings

import numpy as np

from .errors import DataError
from .metrics import rows

SMALLEST_SIDE = 32
"""AlexNet's last features of a smaller picture would be none."""
WEIGHTS = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"


class Lpips:
    """Distance of two pictures, 0 for the same."""

    def __init__(self) -> None:
        """Loads the network, and fetches its weights the first time. Raises DataError where that cannot be."""
        try:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.measure = LearnedPerceptualImagePatchSimilarity("alex", normalize=True)
        except OSError as error:  # what torch.hub raises when it cannot fetch, connections that fail included
            raise DataError(_no_weights(error)) from error
        except (ImportError, RuntimeError) as error:
            raise DataError(
                f"LPIPS needs the package torchvision in the version that fits torch ({str(error).splitlines()[0]}): see "
                "pytorch.org for the command, or leave out --lpips."
            ) from error

    def __call__(self, predicted: np.ndarray, true: np.ndarray) -> float | None:
        """For H x W x 3 in 0..1, values outside of it clipped; None for a picture smaller than the network can take."""
        if min(true.shape[:2]) < SMALLEST_SIDE:
            return None
        pictures = (picture.clamp(0, 1) for picture in rows(predicted, true))
        return float(self.measure(*pictures).detach())


def _no_weights(error: OSError) -> str:
    from torch.hub import get_dir

    return (
        f"LPIPS needs AlexNet's weights, which could not be fetched ({error}): put {WEIGHTS} into {get_dir()}/checkpoints, "
        "or leave out --lpips."
    )
