# SPDX-License-Identifier: GPL-3.0-or-later
"""How a base lives on its device: whole or one part at a time, with a thrifty VAE, compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..teamwork.config import TeamError
from .base import Base, Prompt
from .prompts import TextEncoders

MODES = ("default", "reduce-overhead", "max-autotune")


def offload(base: Base, device: str) -> None:
    """Keep the network and the VAE in main memory, and each on the device only while it is used (`accelerate`'s hooks)."""
    from accelerate import cpu_offload_with_hook

    hooks: list[Any] = [cpu_offload_with_hook(part, device)[1] for part in (base.network, base.vae)]
    for hook, other in zip(hooks, reversed(hooks), strict=True):
        hook.hook.prev_module_hook = other  # whichever is needed sends the other away
    encoders = base.encode_prompts
    if isinstance(encoders, TextEncoders):
        base.encode_prompts = lambda texts: _alone(encoders, texts, hooks)


def _alone(encoders: TextEncoders, texts: Sequence[str], hooks: list[Any]) -> list[Prompt]:
    for hook in hooks:
        hook.offload()
    return encoders(texts)


def save_vae_memory(base: Base, tiling: bool, slicing: bool) -> None:
    """Let the VAE work in overlapping tiles, or on one picture at a time."""
    if tiling:
        base.vae.enable_tiling()
    if slicing:
        base.vae.enable_slicing()


def compile_blocks(base: Base, mode: bool | str) -> None:
    """Compile the blocks that the network repeats, each kind once for each shape, when they first run.

    `mode` is one of `MODES`, True for the default or False for none. Regions instead of the whole network compile in a fraction of the
    time, as all blocks of a kind share what was compiled.
    """
    for module in base.network.modules() if mode else ():
        if type(module).__name__ in base.blocks:
            module.compile(mode=None if mode in (True, "default") else mode)


def check_mode(mode: bool | str) -> None:
    """Raise `TeamError` for a mode that `compile_blocks` does not know."""
    if not isinstance(mode, bool) and mode not in MODES:
        raise TeamError(f"compile is {mode!r}; expected True, False or one of {', '.join(MODES)}.")
