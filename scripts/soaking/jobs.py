# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of the soak, each of which follows from its name alone; and the ledger in which a client notes what it did."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from blender_addon.wire import ChannelImage, Message, Result, Submit

SUBMITTED = "submitted"
MAPS = ("albedo", "roughness")


def job(name: str, materials: float) -> Submit:
    """A short echo of a small picture, or for a share of the names a material of one; the same for the same name."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    side = int(random.integers(16, 129))
    picture = ChannelImage(random.random((side, side, 3), np.float32), "scene-linear")
    if random.random() < materials:
        return Submit(name, "material", "nano", {"image": picture}, MAPS, {"size": 64})
    options = {"steps": int(random.integers(1, 6)), "seconds_per_step": float(random.uniform(0.0, 0.06))}
    return Submit(name, "echo", "", {"image": picture}, (), options)


def right(sent: Submit, end: Message) -> bool:
    """Is a result what the job asked for? An echo gives the very pixels back."""
    if not isinstance(end, Result):
        return True
    if sent.task == "echo":
        return np.array_equal(end.outputs["image"].data, sent.inputs["image"].data)
    shape = sent.inputs["image"].data.shape[:2]
    return set(end.outputs) == set(MAPS) and all(image.data.shape[:2] == shape for image in end.outputs.values())


class Ledger:
    """One line a note, `<job> <what>`, written at once: what a client knows survives it, as a saved file would."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, name: str, what: str) -> None:
        """Add a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{name} {what}\n")

    def lines(self) -> list[tuple[str, str]]:
        """All notes so far; a last line that was cut short by a kill counts as not written."""
        text = self.path.read_text("utf-8") if self.path.exists() else ""
        return [tuple(line.split(" ", 1)) for line in text[: text.rfind("\n") + 1].splitlines()]

    def ends(self) -> dict[str, list[str]]:
        """Every job that was submitted, with the ends that were noted for it."""
        found: dict[str, list[str]] = {}
        for name, what in self.lines():
            found.setdefault(name, []).extend([] if what == SUBMITTED else [what])
        return found
