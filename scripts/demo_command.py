# SPDX-License-Identifier: GPL-3.0-or-later
"""What `demo.py` does once it has a Python that will do. Standard library only."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from . import environment

SMALLEST, LARGEST = 32, 4096
MOST_SAMPLES = 65536
PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"v/1\x01", b"II*\0", b"MM\0*", b"BM", b"RIFF", b"#?", b"\0\0\0\x0cjP", b"SDPX", b"XPDS", b"8BPS")
"""What files begin with that Blender takes for pictures: JPEG, PNG, EXR, and others."""
UNMARKED = (".tga",)
"""Pictures that begin with nothing of their own."""


def arguments() -> argparse.ArgumentParser:
    """The command line; `scripts.demo_job` understands the same."""
    about = "Turns a photo into a material and mends it, and a scene into passes, a shaded picture and its channels."
    parser = argparse.ArgumentParser(prog="demo.py", description=about)
    parser.add_argument("--photo", type=Path, help="a photo of a surface: JPEG, PNG or EXR (default: bricks, CC0)")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="folder for the results (demo_output)")
    parser.add_argument(
        "--size", type=_whole(SMALLEST, LARGEST), default=256, help="pixels across of the rendered scene (256)"
    )
    parser.add_argument(
        "--samples", type=_whole(1, MOST_SAMPLES), default=256, help="Cycles samples of the reference (256)"
    )
    return parser


def _whole(least: int, most: int):
    """A whole number within bounds, for argparse."""

    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return number


def is_picture(path: Path) -> bool:
    """Does a file begin as a picture? Whether it is whole only shows when it is read. False where it cannot be opened."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return False
    return start.startswith(PICTURES) or path.suffix.lower() in UNMARKED


def main() -> int:
    """Set up, then run the main job there; 2 and a sentence for what the user can mend."""
    options = arguments().parse_args()
    if options.photo and not options.photo.is_file():
        print(f"There is no file {options.photo}: give a photo that exists.", file=sys.stderr)
        return 2
    if options.photo and not is_picture(options.photo):
        what = "not an image" if options.photo.stat().st_size else "empty"
        print(f"{options.photo} is {what}: give a photo as JPEG, PNG or EXR.", file=sys.stderr)
        return 2
    words = ["--out", str(options.out.absolute()), "--size", str(options.size), "--samples", str(options.samples)]
    words += ["--photo", str(options.photo.absolute())] if options.photo else []
    return environment.guarded(lambda python: _run(python, words))


def _run(python: Path, words: list[str]) -> int:
    command = [str(python), "-m", "scripts.demo_job", *words]
    code = subprocess.run(command, cwd=environment.ROOT, env=environment.variables(), check=False).returncode
    if code < 0:  # a Blender that crashed cannot say so itself
        print(f"Blender crashed (signal {-code}); run the same command again. What was made before is in the folder.", file=sys.stderr)
        return 1
    return code
