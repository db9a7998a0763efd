# SPDX-License-Identifier: GPL-3.0-or-later
"""Solvers for few steps: Euler, Heun and DPM++ through diffusers' schedulers, on timesteps with trailing spacing.

Trailing spacing begins at the noisiest time and leaves no step for times that hold next to no noise (Lin et al., arXiv
2305.08891). Without a solver a base keeps the scheduler and the spacing that its teams were released with.
"""

from __future__ import annotations

import copy
from typing import Any

import diffusers
import torch

from .base import Base

Tensor = torch.Tensor
DIFFUSION = {
    "euler": diffusers.EulerDiscreteScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "dpm++": diffusers.DPMSolverMultistepScheduler,
}
"""By name, for bases that predict noise or velocity of diffusion. Heun asks the network twice a step but for the last."""

SOLVERS = tuple(DIFFUSION)


def flow_shift(scheduler: Any) -> float | None:
    """The fixed shift of a scheduler of flow matching; None of any other scheduler."""
    config = scheduler.config
    if type(scheduler).__name__.startswith("FlowMatch") or config.get("prediction_type") == "flow_prediction":
        return config.get("flow_shift", config.get("shift", 1.0))
    return None


def scheduler_for(base: Base, solver: str | None, steps: int, latents: Tensor) -> Any:
    """A fresh scheduler with its timesteps set for latents of this shape; `solver` is one of `SOLVERS`, or None."""
    if solver is None:
        return base.schedule(steps, latents)
    if flow_shift(base.template) is not None:
        return _flow(base, solver, steps, latents)
    scheduler = DIFFUSION[solver].from_config(base.template.config, timestep_spacing="trailing")
    scheduler.set_timesteps(steps, device=base.device)
    return scheduler


def _flow(base: Base, solver: str, steps: int, latents: Tensor) -> Any:
    """The base's own shift of even sigmas from 1 to 1/n. Neither Heun nor DPM++ can be told a shift by `mu`, so they get
    their sigmas from the Euler scheduler, which can."""
    euler = copy.deepcopy(base.template)
    if not isinstance(euler, diffusers.FlowMatchEulerDiscreteScheduler):
        euler = diffusers.FlowMatchEulerDiscreteScheduler(euler.config.num_train_timesteps, shift=flow_shift(euler))
    base.evenly(euler, steps, latents)
    if solver == "euler":
        return euler
    count = euler.config.num_train_timesteps
    if solver == "heun":
        scheduler, times = diffusers.FlowMatchHeunDiscreteScheduler(count), _twice
    else:
        flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
        scheduler, times = diffusers.DPMSolverMultistepScheduler(count, **flow), lambda row, steps: row
    scheduler.set_timesteps(steps, device=base.device)
    scheduler.sigmas, scheduler.timesteps = times(euler.sigmas, steps), times(euler.timesteps, steps)
    return scheduler


def _twice(row: Tensor, steps: int) -> Tensor:
    """Each time in between twice: Heun looks at it from before and from after."""
    return torch.cat([row[:1], row[1:steps].repeat_interleave(2), row[steps:]])
