# SPDX-License-Identifier: GPL-3.0-or-later
"""What a surface is called: words of the name of its folder, and words of how it looks, for a base that shall know them."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..colour import display_encode
from ..diffusion.words import words_in
from .generate_materials import Maps

ALIKE = {
    **{"wooden": "wood", "rocky": "rock", "mossy": "moss", "rusty": "rust", "plastered": "plaster", "painted": "paint"},
    **{"boulder": "rock", "muddy": "mud", "sandy": "sand", "stone": "rock"},
}
"""Words that mean the same are one."""
LOOKS = (
    *("black", "grey", "white", "beige", "brown", "red", "orange", "yellow", "green", "blue", "purple", "pink"),
    *("dark", "light", "glossy", "matte", "metal", "flat", "bumpy"),
)
"""All words that `words_of_look` may give."""
HUES = ((0.035, "red"), (0.11, "orange"), (0.19, "yellow"), (0.45, "green"), (0.71, "blue"), (0.8, "purple"), (0.94, "pink"), (1.0, "red"))
"""Up to which hue, of a whole turn, a colour has which name."""


def words_of_name(name: str) -> list[str]:
    """The words of a material's name but for colours and such: "source__DarkWoodFloor042" is wood and floor."""
    own = re.sub(r"([a-z])([A-Z])", r"\1 \2", name.rpartition("__")[2])
    words = dict.fromkeys(ALIKE.get(word, word) for word in words_in(own) if len(word) > 2)
    return [word for word in words if word not in LOOKS or word == "metal"]


def words_of_look(maps: Maps) -> list[str]:
    """The colour of a surface's mean base colour, how light, glossy and uneven it is, and whether it is of metal."""
    mean = display_encode(maps.base_colour).mean((0, 1))
    roughness, metalness = float(maps.roughness.mean()), float(maps.metalness.mean())
    slope = float(np.degrees(np.arccos(np.clip(maps.normals[..., 2], 0.0, 1.0))).mean())
    words = [colour_word(*map(float, mean)), *_word(float(mean.mean()), 0.3, "dark", 0.62, "light")]
    words += [*_word(roughness, 0.4, "glossy", 0.75, "matte"), *_word(slope, 5.0, "flat", 15.0, "bumpy")]
    return [*words, "metal"] if metalness > 0.5 else words


def _word(value: float, low: float, below: str, high: float, above: str) -> list[str]:
    return [below] if value < low else [above] if value > high else []


def colour_word(red: float, green: float, blue: float) -> str:
    """The name of a display-encoded colour, each of red, green and blue 0..1."""
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    if value < 0.14:
        return "black"
    if saturation < 0.12:
        return "white" if value > 0.78 else "grey"
    name = next(name for most, name in HUES if hue <= most)
    warm = name in ("red", "orange", "yellow") and hue > 0.02
    if warm and saturation < 0.35 and value > 0.5:
        return "beige"
    return "brown" if warm and name != "yellow" and value < 0.62 and saturation < 0.75 else name


def vocabulary(folders: Iterable[Path]) -> list[str]:
    """All words that samples of these materials may have, sorted."""
    return sorted({*LOOKS, *(word for folder in folders for word in words_of_name(folder.name))})
