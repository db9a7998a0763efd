# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks into the files of the rendered animation, with the OpenImageIO that Blender's module brings along."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from .visit import checked

PICTURE, ALBEDO = "Neural Image", "Neural Albedo"


def passes_of(path: Path) -> dict[str, np.ndarray]:
    """All passes of an OpenEXR file, {pass: H x W x C}, whether in one part or in one part for each."""
    import OpenImageIO as oiio

    file, found = oiio.ImageInput.open(str(path)), {}
    part = 0
    while file.seek_subimage(part, 0):
        spec = file.spec()
        pixels = file.read_image(part, 0, 0, spec.nchannels, oiio.FLOAT)
        named = spec.get_string_attribute("name")
        for index, channel in enumerate(spec.channelnames):
            name = channel if channel.count(".") > 1 or not named else f"{named}.{channel.rpartition('.')[2]}"
            found.setdefault(name.rpartition(".")[0].rpartition(".")[2], []).append(pixels[..., index])
        part += 1
    return {name: np.stack(planes, -1) for name, planes in found.items()}


def check(folder: Path) -> list[dict]:
    """One check for each thing that has to be true of three frames."""
    files = sorted(folder.glob("*.exr"))
    frames = [passes_of(path) for path in files]
    pictures = [frame[PICTURE][..., :3] for frame in frames if PICTURE in frame]
    spread = [round(float(picture.std()), 3) for picture in pictures]
    moved = [round(float(np.abs(a - b).mean()), 4) for a, b in zip(pictures, pictures[1:], strict=False)]
    return [
        checked("the animation wrote three frames", len(files) == 3, f"{len(files)} files"),
        checked("each frame holds the neural passes", len(pictures) == 3 and all(ALBEDO in f for f in frames), ""),
        checked("each neural picture shows something", len(spread) == 3 and min(spread) > 0.01, f"spread {spread}"),
        checked("no frame repeats the one before", len(moved) == 2 and min(moved) > 0.0, f"mean change {moved}"),
    ]


def main(folder: str) -> None:
    """Print the checks as JSON."""
    import bpy

    bpy.utils.expose_bundled_modules()
    print(json.dumps(check(Path(folder))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
