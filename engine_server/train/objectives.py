# SPDX-License-Identifier: GPL-3.0-or-later
"""What a base's network is asked to predict at which noise, for training: flow matching, or diffusion (noise or velocity).

Noise levels are one number a picture; where they meet latents they broadcast from the batch dimension.
"""

from __future__ import annotations

from typing import Protocol

import torch

from ..diffusion.base import Base
from ..diffusion.solvers import flow_shift
from .errors import ConfigError
from .flow import draw_sigmas, noised

Tensor = torch.Tensor
UNIT = ("FLUX", "FLUX2")
"""Bases whose teams are trained with the weight 1 on the squared error of x0."""


class Objective(Protocol):
    """What training asks of a base's kind of diffusion."""

    def draw(self, count: int, start_share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Noise levels, a share of them the highest; and which of them are that."""

    def noised(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Clean latents with noise at a level."""

    def target(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """What the network should answer."""

    def weight(self, level: Tensor) -> Tensor:
        """What the squared error of that answer counts."""

    def timestep(self, level: Tensor) -> Tensor:
        """The time that the network is told."""


class Flow:
    """Levels are sigmas in (0, 1]; the answer is the velocity, noise minus clean.

    The squared error of x0 = x - sigma v is that of v times sigma^2. So "sigma_sqrt", which weighs x0 by sigma^-2, is the
    plain error of the velocity, and "unit" weighs that by sigma^2. Sigmas are uniform before the scheduler's fixed shift,
    if it has one.
    """

    def __init__(self, shift: float = 1.0, unit: bool = False) -> None:
        self.shift, self.unit = shift, unit

    def draw(self, count: int, start_share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform sigmas, shifted."""
        sigma = draw_sigmas(count, start_share, generator)
        return self.shift * sigma / (1 + (self.shift - 1) * sigma), sigma == 1

    def noised(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """A point on the straight path."""
        return noised(clean, noise, level)

    def target(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """The velocity."""
        return noise - clean

    def weight(self, level: Tensor) -> Tensor:
        """sigma^2 for "unit", else 1."""
        return level.square() if self.unit else torch.ones_like(level)

    def timestep(self, level: Tensor) -> Tensor:
        """From 1000 down to 0."""
        return level * 1000


class Diffusion:
    """Levels are the scheduler's whole timesteps; the answer is noise, velocity or the clean latents, as it says."""

    def __init__(self, products: Tensor, prediction: str) -> None:
        """`products` are the running products of the alphas, `prediction` the scheduler's prediction type."""
        self.products, self.prediction = products.double(), prediction

    def draw(self, count: int, start_share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform timesteps."""
        times = (draw_sigmas(count, start_share, generator) * len(self.products)).ceil().long() - 1
        return times, times == len(self.products) - 1

    def noised(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """At unit variance, as networks of this kind are given their latents."""
        signal, strength = self._parts(level)
        return signal * clean + strength * noise

    def target(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """By the prediction type."""
        signal, strength = self._parts(level)
        targets = {"epsilon": lambda: noise, "sample": lambda: clean, "v_prediction": lambda: signal * noise - strength * clean}
        return targets[self.prediction]()

    def _parts(self, level: Tensor) -> tuple[Tensor, Tensor]:
        product = self.products.to(level.device)[level]
        return product.sqrt().float(), (1 - product).sqrt().float()

    def weight(self, level: Tensor) -> Tensor:
        """All count the same."""
        return torch.ones(level.shape, device=level.device)

    def timestep(self, level: Tensor) -> Tensor:
        """The level itself."""
        return level


def objective_for(base: Base, weighting: str) -> Objective:
    """How a team on this base is trained; `weighting` as in `TeamOptions`. Raises `ConfigError` if the base knows no such
    weighting."""
    config, shift = base.template.config, flow_shift(base.template)
    if shift is None and hasattr(base.template, "alphas_cumprod"):
        if weighting != "auto":
            raise ConfigError(f"options.weighting {weighting!r} is for flow matching; {base.name} predicts noise or velocity.")
        return Diffusion(base.template.alphas_cumprod, config.prediction_type)
    if shift is None:
        kind = type(base.template).__name__
        raise ConfigError(f"The scheduler of {base.name} is an unknown kind, {kind}: teams train on flow matching or diffusion.")
    shift = 1.0 if config.get("use_dynamic_shifting") else shift
    return Flow(shift, weighting == "unit" or (weighting == "auto" and base.family in UNIT))
