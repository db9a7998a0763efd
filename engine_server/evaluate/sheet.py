# SPDX-License-Identifier: GPL-3.0-or-later
"""A contact sheet: rows are samples, columns the photo, then each map as predicted and as it is, where there is such a one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .samples import MAPS

TILE, LABEL, GAP = 128, 18, 4
WORDS = ("photo", "predicted", "true")
PAPER, INK = (24, 24, 24), (230, 230, 230)


@dataclass(frozen=True)
class Row:
    """One photo with the team's maps and the true ones, all H x W x 3 in 0..1."""

    name: str
    photo: np.ndarray
    maps: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]


def choose(count: int, rows: int, seed: int) -> set[int]:
    """Which of `count` photos (numbered from 1) are shown: at random, the same ones for the same seed."""
    return {int(i) + 1 for i in np.random.default_rng(seed).permutation(count)[:rows]}


def contact_sheet(rows: list[Row], words: tuple[str, str, str] = WORDS) -> Image.Image:
    """The sheet as an RGB picture. Maps that a row lacks stay empty; `words` stand over photo, predicted and true maps."""
    names = [name for name in (*MAPS, "image") if any(name in row.maps for row in rows)]
    true = [name for name in names if any(name in row.truth for row in rows)]
    columns = [("maps", n, f"{n} {words[1]}") for n in names] + [("truth", n, f"{n} {words[2]}") for n in true]
    columns.sort(key=lambda column: names.index(column[1]))
    titles = [words[0], *(title for _, _, title in columns)]
    sheet = Image.new("RGB", (GAP + len(titles) * (TILE + GAP), LABEL + len(rows) * (TILE + LABEL + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        _write(draw, title, column, 0)
    for index, row in enumerate(rows):
        top = LABEL + index * (TILE + LABEL + GAP)
        _paste(sheet, [row.photo, *(getattr(row, which).get(name) for which, name, _ in columns)], top)
        _write(draw, row.name, 0, top + TILE, columns=len(titles))
    return sheet


def _paste(sheet: Image.Image, pictures: list[np.ndarray | None], top: int) -> None:
    for column, values in enumerate(pictures):
        if values is not None:
            sheet.paste(_tile(values), (GAP + column * (TILE + GAP), top))


def _tile(values: np.ndarray) -> Image.Image:
    """A square thumbnail; a picture of another shape keeps its proportions on the sheet's ground."""
    picture = Image.fromarray(np.round(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8))
    scale = TILE / max(picture.size)
    picture = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.LANCZOS)
    tile = Image.new("RGB", (TILE, TILE), PAPER)
    tile.paste(picture, ((TILE - picture.width) // 2, (TILE - picture.height) // 2))
    return tile


def _write(draw: ImageDraw.ImageDraw, text: str, column: int, top: int, columns: int = 1) -> None:
    """A line of text under or over tiles, cut at its end to the width of `columns` tiles."""
    font = ImageFont.load_default(12)
    room = columns * (TILE + GAP) - GAP
    while text and draw.textlength(text, font=font) > room:
        text = text[:-1]
    draw.text((GAP + column * (TILE + GAP), top + 2), text, fill=INK, font=font)


def write(path: Path, rows: list[Row], words: tuple[str, str, str] = WORDS) -> None:
    """Writes the sheet as a PNG file, whose folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows, words).save(path, "PNG")
