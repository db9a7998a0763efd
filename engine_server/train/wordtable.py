# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that a base learns together with its network: a vector each, summed into the prompt of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..diffusion.base import Base, Prompts
from ..diffusion.words import Words, told, words_in
from .options import UnisonOptions

START = 0.5
"""The deviation of fresh vectors."""


class WordTable:
    """V words and their vectors, V x D, on the base's device; V may be 0."""

    def __init__(self, base: Base, names: Sequence[str], options: UnisonOptions) -> None:
        """Vectors of words that the base knows already are taken up; the others start at random."""
        self.names, self.options, self.empty = list(names), options, base.prompt
        self.places = {name: place for place, name in enumerate(self.names)}
        vectors = START * torch.randn(len(self.names), base.prompt.prompt_embeds.shape[-1])
        known = base.encode_prompts.vectors if isinstance(base.encode_prompts, Words) else {}
        for name in set(self.names) & set(known):
            vectors[self.places[name]] = known[name]
        self.vectors = torch.nn.Parameter(vectors.to(base.device))

    def parameters(self) -> list[torch.nn.Parameter]:
        """The vectors, if there are any."""
        return [self.vectors] if self.names else []

    def said(self) -> Words | None:
        """What the base knows of words now."""
        vectors = {name: vector.detach().cpu() for name, vector in zip(self.names, self.vectors, strict=True)}
        return Words(self.empty, vectors, self.options.guidance) if vectors else None

    def prompts(self, texts: Sequence[str], random: np.random.Generator) -> Prompts | None:
        """The prompts of samples with these words, some of which, or all, stay unsaid; None where no words are known."""
        if not self.names:
            return None
        said = torch.from_numpy(np.stack([self._said(text, random) for text in texts])).to(self.vectors)
        return [told(self.empty, row) for row in said @ self.vectors]

    def _said(self, text: str, random: np.random.Generator) -> np.ndarray:
        """1 for each word that is said of a sample, V."""
        said = np.zeros(len(self.names), np.float32)
        places = [self.places[word] for word in words_in(text) if word in self.places]
        kept = random.random(len(places)) >= self.options.unsaid
        any_said = random.random() >= self.options.untold
        said[[place for place, keep in zip(places, kept, strict=True) if keep and any_said]] = 1.0
        return said
