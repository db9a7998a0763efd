# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo, from a bare Python: sets up the environment, then turns a photo into a material and a scene into a picture.

    python3 scripts/demo.py [--photo FILE] [--out DIR] [--size 256] [--samples 256]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def arguments() -> argparse.ArgumentParser:
    """The command line; `scripts.demo_job` understands the same."""
    parser = argparse.ArgumentParser(prog="demo.py", description=__doc__.split("\n")[0])
    parser.add_argument("--photo", type=Path, help="a photo of a surface: JPEG, PNG or EXR (default: bricks, CC0)")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="folder for the results (demo_output)")
    parser.add_argument("--size", type=int, default=256, help="pixels across of the rendered scene (256)")
    parser.add_argument("--samples", type=int, default=256, help="Cycles samples of the reference (256)")
    return parser


def main() -> int:
    """Set up, then run the main job there; 2 and a sentence for what the user can mend."""
    options = arguments().parse_args()
    from scripts import environment

    try:
        if options.photo and not options.photo.is_file():
            raise environment.SetupError(f"There is no file {options.photo}: give a photo that exists.")
        python = environment.ensure()
    except environment.SetupError as error:
        print(error, file=sys.stderr)
        return 2
    words = ["--out", str(options.out.absolute()), "--size", str(options.size), "--samples", str(options.samples)]
    words += ["--photo", str(options.photo.absolute())] if options.photo else []
    command = [str(python), "-m", "scripts.demo_job", *words]
    return subprocess.run(command, cwd=environment.ROOT, env=os.environ | {"PYTHONUNBUFFERED": "1"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
