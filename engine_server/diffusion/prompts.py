# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts as tensors. The empty prompt is encoded once per base and kept on disk, so that text encoders are not loaded again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from .base import Base, Prompt

FILE = "empty_prompt.safetensors"


def cache_folder() -> Path:
    """Where encoded prompts are kept: TEAMWORK_CACHE, or `teamwork` in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TEAMWORK_CACHE") or Path(root) / "teamwork")


def empty_prompt(kind: type[Base], source: str | Path, device: str) -> Prompt:
    """The empty prompt of a base: from its own `empty_prompt.safetensors`, from the cache, or encoded now and cached.

    Raises OSError if the base has neither the file nor text encoders.
    """
    own = Path(source) / FILE
    cached = cache_folder() / "prompts" / f"{hashlib.sha256(str(source).encode()).hexdigest()[:24]}.safetensors"
    for path in (own, cached):
        if path.is_file():
            return Prompt(**load_file(path))
    prompt = encode_prompt(kind, source, "", device)
    if not Path(source).is_dir():  # a folder's encoders may change under the same name
        write_prompt(cached, prompt)
    return prompt


@torch.no_grad()
def encode_prompt(kind: type[Base], source: str | Path, text: str, device: str) -> Prompt:
    """Encode a prompt with the base's own text encoders, loaded through diffusers' pipeline and dropped afterwards."""
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(source, transformer=None, unet=None, vae=None).to(device)
    return kind.prompt_from(pipeline, text).to("cpu")


def write_prompt(path: Path, prompt: Prompt) -> None:
    """Write a prompt's tensors; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({k: v.contiguous() for k, v in vars(prompt).items() if v is not None}, partial)
    os.replace(partial, path)
