# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts of a base that knows some words and no sentences: one vector a word, in `words.safetensors`, and no text encoder.

A prompt is the base's empty one, to each token of which the vectors of those words are added that are known; their order does not
matter.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..teamwork.config import RequestError, TeamError
from ..whole import whole_file
from .base import Prompt

FILE = "words.safetensors"
GUIDANCE = "guidance"


def words_in(text: str) -> list[str]:
    """The words of a text in lower case, each once, without the plural's s, which `Words` does not tell apart."""
    found = re.findall(r"[a-z]+", text.lower())
    return list(dict.fromkeys(word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in found))


def told(empty: Prompt, vector: torch.Tensor) -> Prompt:
    """The empty prompt with D numbers added to each of its tokens."""
    return dataclasses.replace(empty, prompt_embeds=empty.prompt_embeds + vector)


class Words:
    """The words that a base knows: called with texts, it gives their prompts, as the text encoders of other bases do."""

    def __init__(self, empty: Prompt, vectors: Mapping[str, torch.Tensor], guidance: float | None = None) -> None:
        """`empty` is the base's empty prompt, `vectors` are D numbers for each word; `guidance` is the usual scale of classifier-free
        guidance (None: 1, none)."""
        self.empty, self.vectors, self.guidance = empty.to("cpu"), dict(vectors), guidance

    @property
    def names(self) -> list[str]:
        """The words, sorted."""
        return sorted(self.vectors)

    def __call__(self, texts: Sequence[str]) -> list[Prompt]:
        """The prompts of texts. Raises `RequestError` for one of which no word is known, and says which are."""
        return [told(self.empty, self._vector(text)) for text in texts]

    def _vector(self, text: str) -> torch.Tensor:
        known = [self.vectors[word] for word in words_in(text) if word in self.vectors]
        if not known:
            raise RequestError(f"This model knows no word of {text!r}; it knows {', '.join(self.names)}. Or leave the prompt out.")
        return torch.stack(known).sum(0)


def read_words(path: Path, empty: Prompt) -> Words:
    """The words of a file, for a base with this empty prompt. Raises `TeamError` for a file that is damaged."""
    try:
        with safe_open(path, "pt") as file:
            scale = (file.metadata() or {}).get(GUIDANCE)
            vectors = {name: file.get_tensor(name).float() for name in file.keys()}
            return Words(empty, vectors, float(scale) if scale else None)
    except (SafetensorError, ValueError) as error:
        raise TeamError(f"{path} is not a whole file of words ({error}); fetch or write it again.") from error


def write_words(path: Path, words: Words) -> None:
    """What `read_words` reads; the file appears whole or not at all."""
    scale = {GUIDANCE: str(words.guidance)} if words.guidance else {}
    with whole_file(path) as partial:
        save_file({name: vector.detach().float().cpu().contiguous() for name, vector in words.vectors.items()}, partial, metadata=scale)
