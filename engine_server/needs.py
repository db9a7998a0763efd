# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory a run takes beside the weights, by what was measured (`needs.toml`), and what would fit instead.

Both parts of a base grow with the rows (channels that are given or wanted) and the pixels of each; only the larger of the
two counts, because they work one after the other:

    network   = fixed + a * width * tokens * rows
    VAE       = fixed + b * width * pixels * rows      of as many rows as go through it at once
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .teamwork.team import Team

MEASURED_BYTES = 4
"""Bytes of a number in the precision that was measured."""
SAFETY = 0.9
"""So much of the free memory is counted on."""
STEP = 64
SMALLEST = 64
TILE = 512
KEPT = 24
"""Bytes of each pixel of each channel that are there all the time: pictures in and out, in single precision."""


@dataclass(frozen=True)
class Need:
    """Bytes that a run on one base takes: `fixed`, per row and pixel in the network, per row and pixel in the VAE.

    `at_once` is how many pixels go through the VAE in one batch, unless a single picture has more; `tile` is how many the
    network sees at once when it works in parts (0: all).
    """

    fixed: float
    network: float
    vae: float
    at_once: int
    tile: int = 0

    def bytes(self, rows: int, pixels: int, thrifty: bool = False) -> int:
        """The need of a run with so many rows of so many pixels."""
        batch = min(pixels, TILE * TILE) if thrifty else min(rows * pixels, max(self.at_once, pixels))
        seen = min(pixels, self.tile) if thrifty and self.tile else pixels
        return round(self.fixed + max(self.network * rows * seen, self.vae * batch) + KEPT * rows * pixels)

    def largest_side(self, rows: int, free: int, aspect: float = 1.0, thrifty: bool = True) -> int:
        """The longest side, a multiple of 64 pixels, that fits into `free` bytes; 0 if none does."""
        fits = lambda side: self.bytes(rows, round(side * side * aspect), thrifty) <= SAFETY * free  # noqa: E731
        return STEP * _most(lambda n: fits(n * STEP), 256)

    def most_rows(self, pixels: int, free: int, thrifty: bool = True) -> int:
        """How many channels of so many pixels fit into `free` bytes; 0 if none do."""
        return _most(lambda rows: self.bytes(rows, pixels, thrifty) <= SAFETY * free, 256)


def _most(fits: Callable[[int], bool], most: int) -> int:
    """The largest of 1 .. `most` that fits, where smaller ones fit as well; 0 if none does."""
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if fits(middle) else (least, middle - 1)
    return least


def need_of(team: Team) -> Need | None:
    """The need of a team's base; None if nothing like it was measured."""
    from .diffusion.base import AT_ONCE

    network, vae = _facts()["network"].get(team.base.family), _facts()["vae"].get(type(team.base.vae).__name__)
    if network is None or vae is None:
        return None
    share, vae_share = (dtype.itemsize / MEASURED_BYTES for dtype in (team.base.dtype, team.base.vae.dtype))
    per_token = network["per_width"] * _width(team.base.network.config) * share
    return Need(
        fixed=network["fixed"] * share + vae["fixed"] * vae_share,
        network=per_token / (team.base.factor * _patch(team)) ** 2,
        vae=vae["per_width"] * _vae_width(team.base.vae.config) * vae_share,
        at_once=AT_ONCE,
        tile=(team.native_size or 0) ** 2,
    )


def _patch(team: Team) -> int:
    """Latent cells of a token, on a side; a UNet's widest tensors have a cell each."""
    return 1 if team.base.family in ("SD2", "SDXL") else max(1, team.base.patch)


def _width(config: Any) -> int:
    """Features of a token."""
    if "block_out_channels" in config:
        return config["block_out_channels"][0]
    if "dim" in config:
        return config["dim"]
    return config["num_attention_heads"] * config["attention_head_dim"]


def _vae_width(config: Any) -> int:
    """Features of a pixel at full size."""
    return (config.get("block_out_channels") or config.get("decoder_block_out_channels"))[0]


@functools.cache
def _facts() -> dict[str, dict[str, dict[str, float]]]:
    return tomllib.loads(Path(__file__).with_name("needs.toml").read_text(encoding="utf-8"))


def advice(need: Need | None, rows: int, height: int, width: int, free: int) -> str:
    """What would fit, as the end of a sentence about a run of `rows` channels that did not, even in parts."""
    if need is None:
        return "use a smaller size, ask for fewer channels, or close other programs that use the device."
    long, pixels = max(height, width), height * width
    most = in_words(need.bytes(rows, pixels, thrifty=True))
    needed = f"about {most} are needed beside the model, {in_words(free)} are free"
    side = min(need.largest_side(rows, free, pixels / long**2), (long - 1) // STEP * STEP)
    fewer = min(need.most_rows(pixels, free), rows - 1)
    options = [f"a size of {side} pixels"] if side >= SMALLEST else []
    options += [f"{fewer} channel{'s' if fewer > 1 else ''} at once"] if fewer >= 2 else []
    if not options:
        return f"{needed}: close other programs that use the device, or use a smaller model."
    return f"{needed}: {' or '.join(options)} would fit."


def in_words(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
