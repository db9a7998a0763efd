# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the README's gallery from what the demo made.

    python -m scripts.gallery demo_output docs/gallery.jpg
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE, GAP, LABEL = 230, 8, 22
ROWS = (
    (("photo", "photo"), ("albedo", "base colour"), ("normals", "normal"), ("roughness", "roughness"), ("height", "height")),
    (
        ("holed", "a part taken out"),
        ("mended_albedo", "made anew: base colour"),
        ("mended_normals", "normal"),
        ("mended_roughness", "roughness"),
        ("mended_height", "height"),
    ),
    (("material_preview", "the material"), ("noisy", "4 samples"), ("neural_shading", "shaded"), ("reference", "reference")),
)


def picture(path: Path) -> Image.Image:
    """A picture of 8 bits, SIDE x SIDE; of 16 bits the upper half."""
    image = Image.open(path)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8))
    return image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def gallery(made: Path, photo: Path) -> Image.Image:
    """Rows of labelled pictures, and the decomposition below them."""
    parts = Image.open(made / "decomposition.png").convert("RGB")
    width = len(ROWS[0]) * (SIDE + GAP) + GAP
    parts = parts.resize((width, round(parts.height * width / parts.width)), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (width, len(ROWS) * (SIDE + LABEL) + GAP + parts.height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for y, row in enumerate(ROWS):
        for x, (name, label) in enumerate(row):
            place = GAP + x * (SIDE + GAP), y * (SIDE + LABEL)
            draw.text((place[0], place[1] + 3), label, "black", font)
            sheet.paste(picture(photo if name == "photo" else made / f"{name}.png"), (place[0], place[1] + LABEL))
    sheet.paste(parts, (0, len(ROWS) * (SIDE + LABEL) + GAP))
    return sheet


def main(argv: list[str] | None = None) -> int:
    """Write the gallery of a demo's folder, run with the default photo; 2 after a sentence on what to mend."""
    parser = argparse.ArgumentParser(prog="python -m scripts.gallery", description=__doc__.split("\n")[0])
    parser.add_argument("made", nargs="?", type=Path, default=Path("demo_output"), help="the demo's folder (default: %(default)s)")
    parser.add_argument("out", nargs="?", type=Path, default=Path("docs/gallery.jpg"), help="a JPEG file (default: %(default)s)")
    options = parser.parse_args(argv)
    if options.out.suffix.lower() not in (".jpg", ".jpeg"):
        parser.error(f"{options.out} does not end in .jpg")
    try:
        _write(options.made, options.out)
    except OSError as error:
        print(f"gallery: {error.filename or error} cannot be used; run scripts/demo.py first, and name its folder.", file=sys.stderr)
        return 2
    return 0


def _write(made: Path, out: Path) -> None:
    from .demo_job import default_photo

    with Image.open(made / "decomposition.png"):  # before the photo is fetched
        pass
    gallery(made, default_photo()).save(out, "JPEG", quality=88)


if __name__ == "__main__":
    sys.exit(main())
