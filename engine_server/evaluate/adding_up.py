# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the parts of a picture add up to it: diffuse reflection, and the residual that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .. import colour, derive
from . import metrics


@dataclass(frozen=True)
class Recomposition:
    """How far a picture is from its parts, RMSE of display-encoded values: without the residual, and with it."""

    diffuse: float
    whole: float


def recomposition(photo: np.ndarray, maps: Mapping[str, np.ndarray]) -> Recomposition | None:
    """Of a photo and maps H x W x 3 in the model's encoding; None where they lack albedo or diffuse shading.

    Without a metalness among the maps everything reflects diffusely.
    """
    if not {"albedo", "diffuseshading"} <= set(maps):
        return None
    albedo, light = (colour.display_decode(maps[name]) for name in ("albedo", "diffuseshading"))
    metalness = np.asarray(maps.get("metalness", np.zeros_like(albedo)))[..., :1]
    rest = derive.residual(colour.display_decode(photo), albedo, metalness, light).data
    reflected = albedo * (1.0 - metalness)
    sums = (colour.recompose(reflected, light, part) for part in (np.zeros_like(rest), rest))
    return Recomposition(*(metrics.rmse(colour.display_encode(total), photo) for total in sums))


def sentence(found: Sequence[Recomposition]) -> str:
    """Means of each photo's distances, for people; empty for none."""
    if not found:
        return ""
    diffuse, whole = (float(np.mean([getattr(one, part) for one in found])) for part in ("diffuse", "whole"))
    return (
        f"albedo * (1 - metalness) * diffuseshading is {diffuse:.4f} RMSE from the photo, with the residual {whole:.4f} "
        f"(mean of {len(found)} photo{'s' if len(found) != 1 else ''})"
    )
