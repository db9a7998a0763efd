# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of wanted pictures that are known and stay, while the rest is made anew beside them.

After each step the known cells are replaced by what they are, under as much noise as the step has left. Repeated steps go
back to the noise that they began with and are taken again, so that new cells can follow what the known ones tell (Lugmayr et
al., "RePaint", arXiv 2201.09865). Works with any team, trained for it or not, and with any scheduler.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

Tensor = torch.Tensor
NOTHING = 1e-4
"""Of a picture that holds so little, or less, nothing can be kept when noise is put back onto it."""


def level(scheduler: Any, index: int) -> tuple[float, float]:
    """(a, s) of the latents that step `index` begins with: a * clean + s * noise; (1, 0) after the last step.

    As the scheduler itself would noise them, whatever its parametrisation.
    """
    if index >= len(scheduler.timesteps):
        return 1.0, 0.0
    time = scheduler.timesteps[index : index + 1].cpu()
    one, none = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    scheduler = copy.deepcopy(scheduler)  # some note where they are
    if hasattr(scheduler, "scale_noise"):
        return float(scheduler.scale_noise(one, time, none)), float(scheduler.scale_noise(none, time, one))
    return float(scheduler.add_noise(one, none, time)), float(scheduler.add_noise(none, one, time))


@dataclass
class Keep:
    """What stays of the wanted rows.

    clean: W x I x C x h x w latents; anew: W x 1 x 1 x h x w, 1 where a cell is made anew, 0 where `clean` stays; noise: as
    `clean`, what the known cells are noised with. Each step is taken `repeats` times; the noise in between is from `generators`, W * I
    of them, the images of each row together, so that it is the same for a row whatever is made beside it.
    """

    clean: Tensor
    anew: Tensor
    noise: Tensor
    repeats: int = 1
    generators: Sequence[torch.Generator] = ()

    def within(self, latents: Tensor, scheduler: Any, index: int) -> Tensor:
        """The latents that step `index` begins with, with the known cells in them."""
        share, noise = level(scheduler, index)
        return self.anew * latents + (1 - self.anew) * (share * self.clean + noise * self.noise)

    def times(self, scheduler: Any, index: int) -> int:
        """How often step `index` is taken: not more than once where all is noise."""
        return self.repeats if level(scheduler, index)[0] > NOTHING else 1

    def back(self, latents: Tensor, scheduler: Any, index: int) -> Tensor:
        """From the end of step `index` to its beginning: what is left of the picture, and as much fresh noise as is missing.

        Of a x + s n at the end, a' x + s' n at the beginning follows by r = a' / a and variance s'^2 - (r s)^2.
        """
        (after, after_noise), (before, before_noise) = level(scheduler, index + 1), level(scheduler, index)
        ratio = before / after
        missing = max(before_noise**2 - (ratio * after_noise) ** 2, 0.0) ** 0.5
        rows = [torch.randn(latents.shape[2:], generator=generator) for generator in self.generators]
        fresh = torch.stack(rows).view(latents.shape).to(latents)
        return self.within(ratio * latents + missing * fresh, scheduler, index)


def cells(mask: Tensor, factor: int) -> Tensor:
    """H x W pixels, more than 0 where the picture is made anew, to h x w cells: 1 where any pixel of a cell is. Sides are
    multiples of `factor`."""
    return torch.nn.functional.max_pool2d((mask > 0).float()[None, None], factor)[0, 0]
