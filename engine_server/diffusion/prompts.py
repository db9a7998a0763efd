# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts as tensors. The empty prompt is encoded once per base and kept on disk, so that text encoders are not loaded again."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..teamwork.config import TeamError
from ..whole import whole_file
from .base import Base, Prompt

log = logging.getLogger(__name__)

FILE = "empty_prompt.safetensors"
TEXT_PARTS = ("text_encoder", "tokenizer", "scheduler")
KEPT = 32
"""So many encoded prompts stay in memory."""


def cache_folder() -> Path:
    """Where encoded prompts are kept: TEAMWORK_CACHE, or `teamwork` in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TEAMWORK_CACHE") or Path(root) / "teamwork")


def facts_of(source: str | Path, revision: str | None = None) -> Mapping[str, Any]:
    """What `model_index.json` of a base says; nothing if it has none."""
    from diffusers import DiffusionPipeline

    try:
        return DiffusionPipeline.load_config(str(source), revision=revision)
    except OSError:
        return {}


class TextEncoders:
    """The text encoders of a base: loaded when a text is to be encoded, and dropped afterwards."""

    def __init__(
        self,
        kind: type[Base],
        source: str | Path,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        revision: str | None = None,
    ) -> None:
        """`kind` is the base's class, `source` its folder or hub name, `dtype` the precision of the encoders."""
        self.kind, self.source, self.revision = kind, source, revision
        self.device, self.dtype = device, dtype
        self._kept: dict[str, Prompt] = {}

    def __call__(self, texts: Sequence[str]) -> list[Prompt]:
        """The prompts of texts, on the CPU; those that were encoded lately are not encoded again."""
        wanted = [text for text in dict.fromkeys(texts) if text not in self._kept]
        made = self._kept | (self._encoded(wanted) if wanted else {})
        self._kept = dict(list(made.items())[-KEPT:])
        return [made[text] for text in texts]

    @torch.no_grad()
    def _encoded(self, texts: Sequence[str]) -> dict[str, Prompt]:
        from diffusers import DiffusionPipeline

        parts = {name: entry for name, entry in facts_of(self.source, self.revision).items() if isinstance(entry, list)}
        others = {name: None for name, entry in parts.items() if not (any(entry) and name.startswith(TEXT_PARTS))}
        options = {"dtype": self.dtype, "revision": self.revision, "use_safetensors": True}
        try:
            pipeline = DiffusionPipeline.from_pretrained(str(self.source), **others, **options).to(self.device)
        except (OSError, SafetensorError, ValueError, ImportError) as error:
            raise TeamError(f"The text encoders of {self.source} cannot be loaded: {str(error).splitlines()[0]}") from error
        return {text: self.kind.prompt_from(pipeline, text).to("cpu") for text in texts}


def has_text_encoders(facts: Mapping[str, Any]) -> bool:
    """Whether a base's `model_index.json` names a text encoder."""
    return any(name.startswith("text_encoder") and any(entry) for name, entry in facts.items() if isinstance(entry, list))


def empty_prompt(source: str | Path, encoders: TextEncoders | None) -> Prompt:
    """The empty prompt of a base: from its own `empty_prompt.safetensors`, from the cache, or encoded now and cached.

    Raises `TeamError` if the base has neither the file nor text encoders.
    """
    own = Path(source) / FILE
    if own.is_file():
        return read_prompt(own)
    if encoders is None:
        raise TeamError(f"The base {source} has no text encoders, nor a file {FILE} to be used instead.")
    cached = cache_folder() / "prompts" / f"{identity(encoders)}.safetensors"
    try:
        return read_prompt(cached)
    except (OSError, SafetensorError, TypeError):
        prompt = encoders([""])[0]
    try:
        write_prompt(cached, prompt)
    except (OSError, SafetensorError) as error:  # it is encoded anew next time
        log.warning("the empty prompt of %s cannot be kept in %s: %s", source, cached.parent, error)
    return prompt


def identity(encoders: TextEncoders) -> str:
    """What tells one base's text encoders from others': their name and commit, or their files' sizes and times."""
    folder = Path(encoders.source)
    if folder.is_dir():
        parts = (p for pattern in ("text_encoder*", "tokenizer*") for p in folder.glob(f"{pattern}/*"))
        facts = [str(folder.resolve()), *sorted(f"{p} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in parts)]
    else:
        facts = [str(encoders.source), _commit(str(encoders.source), encoders.revision)]
    return hashlib.sha256("\n".join([*facts, str(encoders.dtype)]).encode()).hexdigest()[:24]


def _commit(name: str, revision: str | None) -> str:
    """The commit of a hub repository that a revision stands for on this computer."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "model_index.json", revision=revision)
    return Path(found).parent.name if isinstance(found, str) else revision or "main"


def read_prompt(path: Path) -> Prompt:
    """A prompt's tensors from a file, which may change or vanish afterwards."""
    return Prompt(**{name: tensor.clone() for name, tensor in load_file(path).items()})


def write_prompt(path: Path, prompt: Prompt) -> None:
    """Write a prompt's tensors; the file appears whole or not at all."""
    with whole_file(path) as partial:
        save_file({k: v.contiguous() for k, v in vars(prompt).items() if v is not None}, partial)
