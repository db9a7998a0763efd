# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the bundled team and writes the figures into its model card, with contact sheets of samples drawn at random.

    python -m scripts.model_card --planes data/planes --materials data/materials/validation --scenes data/scenes/validation

Each folder is what `python -m engine_server evaluate` takes. Of the card only what stands between `<!-- NAME -->` and
`<!-- end -->` changes; the sheets go beside it.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NANO = ROOT / "engine_server" / "bundled" / "nano"
SETS = ("planes", "materials", "scenes")
BLOCKS = {name: (name,) for name in SETS} | {"planes": ("planes", "holes")}
"""The blocks of the card that each set fills."""


def evaluated(block: str, data: Path, sheet: Path, limit: int) -> str:
    """The tables that `evaluate` prints for a folder; a JPEG of its contact sheet is written to `sheet`."""
    png = sheet.with_suffix(".png")
    command = [sys.executable, "-m", "engine_server", "evaluate", "--data", str(data), "--contact-sheet", str(png)]
    command += ["--limit", str(limit), *(["--holes"] if block == "holes" else [])]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    with Image.open(png) as picture:
        picture.save(sheet, quality=85)
    png.unlink()
    return done.stdout.strip()


def speed() -> str:
    """Seconds to import what any team needs, to load this one, and to make a material's four maps from noise of two sizes, on this
    machine's CPU."""
    start = time.perf_counter()
    from engine_server.diffusion.loading import import_bundled, load_team

    import_bundled()
    rows = [f"import of PyTorch and diffusers: {time.perf_counter() - start:.1f} s"]
    start = time.perf_counter()
    team = load_team("nano")
    rows.append(f"load: {time.perf_counter() - start:.1f} s")
    for side in (256, 512):
        photo = np.random.default_rng(0).random((side, side, 3), np.float32)
        start = time.perf_counter()
        team.run({"image": photo}, ["albedo", "normals", "roughness", "metalness"])
        rows.append(f"four maps, {side} x {side}: {time.perf_counter() - start:.1f} s")
    return "\n".join([f"{os.cpu_count()} CPU cores, {platform.machine()}", *rows])


def with_block(card: str, name: str, text: str) -> str:
    """The card with another text between a block's marks. Raises ValueError where it has no such block."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(card):
        raise ValueError(f"The card has no block <!-- {name} --> ... <!-- end -->; put the marks where its figures belong.")
    return pattern.sub(lambda found: f"{found[1]}```\n{text}\n```\n{found[2]}", card)


def main(argv: list[str] | None = None) -> int:
    """Measure what is given, and write the card; 2 after a sentence on what to mend."""
    parser = argparse.ArgumentParser(prog="python -m scripts.model_card", description=__doc__.split("\n")[0])
    for name in SETS:
        parser.add_argument(f"--{name}", type=Path, help="a folder of samples; without it that block stays")
    parser.add_argument("--limit", type=int, default=80, help="so many samples of each folder at most (80)")
    parser.add_argument("--card", type=Path, default=NANO / "MODEL_CARD.md")
    options = parser.parse_args(argv)
    try:
        _measure(options)
    except subprocess.CalledProcessError as error:
        return _refuse(f"the samples in {error.cmd[5]} cannot be evaluated, as said above; the card stays as it was.")
    except OSError as error:
        return _refuse(f"{error.filename} cannot be used: {error.strerror}.")
    except ValueError as error:
        return _refuse(str(error))
    return 0


def _refuse(sentence: str) -> int:
    print(f"model_card: {sentence}", file=sys.stderr)
    return 2


def _measure(options: argparse.Namespace) -> None:
    card = options.card.read_text(encoding="utf-8")
    for name in SETS:
        if (data := getattr(options, name)) and not data.is_dir():
            raise ValueError(f"there is no folder {data}; --{name} names a folder of samples.")
        for block in BLOCKS[name] if data else ():
            with_block(card, block, "")
    card = with_block(card, "speed", speed())
    for name in SETS:
        for block in BLOCKS[name] if (data := getattr(options, name)) else ():
            card = with_block(card, block, evaluated(block, data, options.card.parent / f"{block}.jpg", options.limit))
    options.card.write_text(card, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
