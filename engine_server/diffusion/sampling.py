# SPDX-License-Identifier: GPL-3.0-or-later
"""The one denoising loop, for every base and every team."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .base import Base
from .keeping import Keep
from .solvers import scheduler_for

Tensor = torch.Tensor
KEEP_NOISE = ("dpmsolver", "sde-dpmsolver", "deis", "noise_prediction")
"""Of schedulers that keep what they made of the network's answers (DPM++ and its like): where that is noise, not clean latents."""
OnStep = Callable[[int, int, Callable[[], Tensor]], None]
"""Called after each step with (steps done, steps in all, preview); preview() decodes the current guess of the first wanted
row of the first image: 1 x 3 x H x W."""


@dataclass(frozen=True)
class Cast:
    """Who sits where in the batch: for each active teammate in order, whether it is given (True) or wanted (False)."""

    given: tuple[bool, ...]

    def gather(self, clean: Tensor, noisy: Tensor) -> Tensor:
        """Rows of teammates: clean latents of the given ones and noisy ones of the wanted ones, in order."""
        clean_rows, noisy_rows = iter(clean), iter(noisy)
        return torch.stack([next(clean_rows) if given else next(noisy_rows) for given in self.given])

    def wanted(self, rows: Tensor) -> Tensor:
        """The rows of wanted teammates."""
        return rows[[i for i, given in enumerate(self.given) if not given]]


def sample(
    base: Base,
    cast: Cast,
    clean: Tensor,
    noise: Tensor,
    conditions: Mapping[str, Any],
    steps: int,
    on_step: OnStep | None,
    solver: str | None = None,
    keep: Keep | None = None,
    generators: Sequence[torch.Generator] = (),
) -> Tensor:
    """Denoise the wanted rows of I images beside their given ones.

    clean: G x I x C x h x w latents of the G given teammates; noise: W x I x C x h x w, of unit variance. Given rows
    enter every step clean: neither noised nor scaled by the scheduler. `solver` is one of `solvers.SOLVERS` or, for the
    base's own, None; with Heun the network's answers are counted as steps, 2 n - 1 of them. `keep` says which cells of the
    wanted rows are known; steps that it repeats are counted each time. `generators` are W * I, the images of each row together:
    what a scheduler's steps add noise from. Returns the wanted rows' clean latents.
    """
    scheduler = scheduler_for(base, solver, steps, noise)
    latents = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    times = [keep.times(scheduler, index) if keep else 1 for index in range(len(scheduler.timesteps))]
    order = ((index, left) for index, count in enumerate(times) for left in reversed(range(count)))
    dtype = base.dtype  # asked once: diffusers goes through all of a network's modules for it, 14 ms of SDXL's
    for done, (index, left) in enumerate(order, 1):
        timestep = scheduler.timesteps[index]
        way = copy.deepcopy(scheduler) if left else scheduler  # schedulers remember their steps
        rows = cast.gather(clean, _scaled(way, latents, timestep))
        answer = base.predict(rows.flatten(0, 1).to(dtype), timestep, conditions).unflatten(0, rows.shape[:2])
        prediction = cast.wanted(answer).to(latents.dtype)
        step = _stepped(way, prediction.flatten(0, 1), timestep, latents.flatten(0, 1), generators)
        after = step.prev_sample.unflatten(0, latents.shape[:2])
        latents = after if keep is None else keep.within(after, scheduler, index + 1)
        if on_step:
            on_step(done, sum(times), functools.partial(_preview, base, way, step, prediction.flatten(0, 1), index))
        latents = keep.back(latents, scheduler, index) if left else latents
    return latents


def _scaled(scheduler: Any, latents: Tensor, timestep: Tensor) -> Tensor:
    scale = getattr(scheduler, "scale_model_input", None)
    return scale(latents, timestep) if scale else latents


def _stepped(scheduler: Any, prediction: Tensor, timestep: Tensor, rows: Tensor, generators: Sequence[torch.Generator]) -> Any:
    """A scheduler's step on B x C x h x w rows; what noise it adds, if any, depends on the generators, one for each row."""
    seeded = generators and "generator" in inspect.signature(scheduler.step).parameters
    return scheduler.step(prediction, timestep, rows, **({"generator": list(generators)} if seeded else {}))


def _preview(base: Base, scheduler: Any, step: Any, prediction: Tensor, index: int) -> Tensor:
    return base.decode(clean_guess(scheduler, step, prediction, index)[:1])


def clean_guess(scheduler: Any, step: Any, prediction: Tensor, index: int) -> Tensor:
    """The clean latents that the network would answer with if it had to stop after this step; of a scheduler that tells
    nothing of them, what the step left."""
    if getattr(step, "pred_original_sample", None) is not None:
        return step.pred_original_sample
    if hasattr(scheduler, "model_outputs"):
        kept = scheduler.config.get("algorithm_type", "") not in KEEP_NOISE and scheduler.config.get("predict_x0", True)
        return scheduler.model_outputs[-1] if kept else step.prev_sample
    if getattr(scheduler, "sigmas", None) is None:
        return step.prev_sample
    sigma = scheduler.sigmas[min(index + 1, len(scheduler.sigmas) - 1)]
    return step.prev_sample - sigma.to(prediction) * prediction
