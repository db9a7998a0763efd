# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts and guidance of one run: what each row is conditioned on, and classifier-free guidance around any base.

Under guidance each image is in the batch twice, with the prompt and without, as two images of their own; coordination and
joint attention never cross images, so the branches cannot leak into each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..teamwork.config import RequestError
from .base import Base, Prompt

Tensor = torch.Tensor
LARGEST = 100.0


@dataclass(frozen=True)
class Wording:
    """What a run was told in words: a prompt for all images or one for each, what to keep away from, and how strongly.

    `guidance` is the scale of classifier-free guidance (Ho and Salimans, arXiv 2207.12598), 1 being none, or, for a base
    whose network takes guidance as an input, that number. None is the base's default: 1, 3.5 for FLUX.1-dev or 4 for FLUX.2-dev; a base of
    words (see `Words`) says its own, for where there is a prompt.
    """

    prompt: str | Sequence[str] = ""
    negative: str | None = None
    guidance: float | None = None


@dataclass(frozen=True)
class Directed:
    """The prompts of one run's images, and the scale of classifier-free guidance, if any: then each image counts twice."""

    base: Base
    prompts: tuple[Prompt, ...]
    scale: float | None = None
    told: float | None = None

    def conditions(self, active: int, height: int, width: int) -> Mapping[str, Any]:
        """The base's conditions for all rows of `active` teammates."""
        return self.base.conditions(active * len(self.prompts), height, width, self.prompts, self.told)

    def around(self, base: Any, active: int) -> Any:
        """A base that predicts under this guidance; `base` is the seam, tiled or not."""
        return base if self.scale is None else Guided(base, self.scale, active)


class Guided:
    """A base under classifier-free guidance: the same seam; its conditions are those of I images with the prompt, then without."""

    def __init__(self, base: Any, scale: float, active: int) -> None:
        """`active` is the number of teammates in a batch."""
        self.base, self.scale, self.active = base, scale, active

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)

    def predict(self, latents: Tensor, timestep: Tensor, conditions: Mapping[str, Any]) -> Tensor:
        """The prediction without the prompt, moved away from by `scale` times the difference that the prompt makes."""
        rows = latents.unflatten(0, (self.active, 1, -1)).expand(-1, 2, *[-1] * latents.ndim)
        answer = self.base.predict(rows.flatten(0, 2), timestep, conditions)
        told, untold = answer.unflatten(0, (self.active, 2, -1)).unbind(1)
        return (untold + self.scale * (told - untold)).flatten(0, 1)


def direct(base: Base, wording: Wording, images: int) -> Directed:
    """Encode what a run was told, for so many images. Raises `RequestError` for what the base cannot take."""
    texts = _texts(wording.prompt, images)
    usual = getattr(base.encode_prompts, "guidance", None) if any(texts) else None
    scale = _scale(base, usual if wording.guidance is None else wording.guidance)
    guided = base.guidance is None and scale not in (None, 1.0)
    if any(texts) or wording.negative:
        _check_encoders(base)
    if wording.negative and not guided:
        raise RequestError(_without_effect(base, scale))
    if not guided:
        return Directed(base, tuple(base.prompted(texts)), told=scale if base.guidance is not None else None)
    told = base.prompted([*texts, wording.negative or ""])
    untold = _zeros(told[-1]) if wording.negative is None and base.zero_unconditional else told[-1]
    return Directed(base, (*told[:-1], *[untold] * len(texts)), scale)


def _zeros(prompt: Prompt) -> Prompt:
    return Prompt(**{name: None if t is None else torch.zeros_like(t) for name, t in vars(prompt).items()})


def _texts(prompt: str | Sequence[str], images: int) -> list[str]:
    texts = [prompt] * images if isinstance(prompt, str) else list(prompt)
    if not all(isinstance(text, str) for text in texts):
        raise RequestError("A prompt is a text, or a list of texts, one for each image.")
    if len(texts) != images:
        raise RequestError(f"{len(texts)} prompts were given for {images} images; give one for each, or a single text.")
    return texts


def _scale(base: Base, guidance: float | None) -> float | None:
    if guidance is None:
        return None
    if not (math.isfinite(guidance) and 0 <= guidance <= LARGEST):
        raise RequestError(f"guidance is {guidance}; expected 0 to {LARGEST:g}.")
    if base.distilled and guidance != 1:
        raise RequestError(f"The base {base.name} was distilled to work without guidance; leave guidance out.")
    return float(guidance)


def _check_encoders(base: Base) -> None:
    if base.encode_prompts is None:
        raise RequestError(f"The base {base.name} has no text encoders, so it takes no prompt; leave the prompt out.")


def _without_effect(base: Base, scale: float | None) -> str:
    if base.guidance is not None:
        return f"{base.family} takes guidance as an input of its network, so a negative prompt has no effect; leave it out."
    return "A negative prompt acts through guidance, which is 1 (none); give a guidance above 1, such as 5, or leave it out."
