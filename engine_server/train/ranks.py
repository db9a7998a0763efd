# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes that train together: one, or as many as `accelerate launch` or `torchrun` started, one for each device."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

import torch

from .errors import ConfigError

PATIENCE = timedelta(hours=24)
"""How long processes wait for each other: the first one may encode many pictures meanwhile."""


class Ranks:
    """Which of how many processes this is, and its device. Adapters are small beside their base, so what processes
    exchange are the gradients themselves, once an optimiser step; the base needs no wrapper around it.
    """

    def __init__(self, device: str = "auto") -> None:
        """`device` is auto (a CUDA device where there is one), cpu, cuda, cuda:1, ... Raises `ConfigError` for one that
        is not there."""
        self.index, self.count = 0, 1
        wanted = "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            self._join(wanted)
        else:
            self.device = _device(wanted)

    def _join(self, wanted: str) -> None:
        from accelerate import PartialState

        state = PartialState(cpu=wanted == "cpu", timeout=PATIENCE)
        self.index, self.count, self.device = state.process_index, state.num_processes, state.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.index == 0

    def average(self, parameters: list[torch.nn.Parameter]) -> None:
        """Replace the gradients of all processes by their mean; none counts as zero, and where no process has one there is none.

        An optimiser leaves parameters without a gradient as they are, but moves those whose gradient is zero by what it remembers.
        """
        if self.count == 1:
            return
        from accelerate.utils import reduce

        held = self.agree(*(float(parameter.grad is not None) for parameter in parameters))
        for parameter in (parameter for parameter, any_has in zip(parameters, held, strict=True) if any_has):
            grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = reduce(grad, "mean")

    def mean(self, *numbers: float) -> list[float]:
        """The mean of each number over all processes."""
        return self._exchanged(list(numbers), "mean")

    def agree(self, *numbers: float) -> list[float]:
        """The largest of each number over all processes, so that all of them decide alike."""
        return self._exchanged(list(numbers), "max")

    def _exchanged(self, numbers: list[float], how: str) -> list[float]:
        if self.count == 1:
            return numbers
        from accelerate.utils import reduce

        return reduce(torch.tensor(numbers, dtype=torch.float64, device=self.device), how).tolist()

    def first_alone(self, work: Callable[[], None]) -> None:
        """Have the first process do something while the others wait; they raise `ConfigError` if it could not."""
        failure: Exception | None = None
        if self.first:
            try:
                work()
            except Exception as error:
                failure = error
        failed = self.agree(float(failure is not None))[0]
        if failure:
            raise failure
        if failed:
            raise ConfigError("The first process could not go on; what it says is the reason.")

    def close(self) -> None:
        """Leave the group."""
        if self.count > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"The device {name!r} is not there ({reason}); cpu always is.") from error
