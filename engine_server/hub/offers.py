# SPDX-License-Identifier: GPL-3.0-or-later
"""The models that the engine knows how to fetch, read from `catalogue.toml`."""

from __future__ import annotations

import functools
import os
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

CATALOGUE_VARIABLE = "TEAMWORK_CATALOGUE"
BASE, ADAPTER = "base", "adapter"

_BASE_FILES = (
    *("model_index.json", "empty_prompt.safetensors", "words.safetensors", "transformer/*", "unet/*", "vae/*", "scheduler/*"),
    *("text_encoder/*", "text_encoder_?/*", "tokenizer/*", "tokenizer_?/*"),
)
_BASE_SUFFIXES = (".json", ".txt", ".model", ".safetensors", ".jinja")
_VARIANTS = ("*.fp16.*", "*.bf16.*", "*.fp16-*", "*.non_ema.*", "*openvino*", "*flax*", "*onnx*")


@dataclass(frozen=True)
class Offer:
    """One model of the hub. `kind` is base or adapter; `repo` is OWNER/NAME there, `file` the adapter's file in it.

    `base` names the offer that an adapter was made for; `family` is a base's profile (SD3, FLUX ...). `size_bytes` is what
    is fetched (0: the hub knows), `parameters` are the numbers of network and autoencoder, `tasks` what an adapter is for.
    """

    name: str
    kind: str
    title: str
    repo: str
    licence: str
    revision: str = "main"
    file: str = ""
    base: str = ""
    family: str = ""
    gated: bool = False
    parameters: int = 0
    size_bytes: int = 0
    tasks: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        """Where people read the licence and accept it."""
        return f"https://huggingface.co/{self.repo}"

    def wants(self, path: str) -> bool:
        """Is this file of the repository one that the engine needs? Of several precisions only the usual one is."""
        if self.kind == ADAPTER:
            return path == self.file
        inside = any(fnmatch(path, pattern) for pattern in _BASE_FILES)
        return inside and path.endswith(_BASE_SUFFIXES) and not any(fnmatch(path, pattern) for pattern in _VARIANTS)


def offers() -> dict[str, Offer]:
    """All offers by name: those of the engine, then those of the file that TEAMWORK_CATALOGUE names, in the same form."""
    own = os.environ.get(CATALOGUE_VARIABLE)
    return _read(Path(__file__).with_name("catalogue.toml")) | (_read(Path(own)) if own else {})


def with_base(offer: Offer) -> list[Offer]:
    """The offer, and before it the base that it needs."""
    base = offers().get(offer.base)
    return [base, offer] if base else [offer]


@functools.cache
def _read(path: Path) -> dict[str, Offer]:
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["model"]
    return {entry["name"]: Offer(**entry | {"tasks": tuple(entry.get("tasks", ()))}) for entry in entries}
