# SPDX-License-Identifier: GPL-3.0-or-later
"""What `build_extension.py` does. Its first half needs the standard library only; the building runs in `.venv`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from .. import environment
from . import wheels, zips
from .engine import build_engine
from .repository import write_repository

SOURCE = environment.ROOT / "blender_addon"
LICENCE = environment.ROOT / "LICENSE"
CACHE = environment.ROOT / ".venvs" / "wheels"
MEGABYTE = 1e6


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    about = "Makes the zips that Blender installs, one for each platform, each checked by Blender's own `validate`."
    parser = argparse.ArgumentParser(prog="build_extension.py", description=about)
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder for the zips (dist)")
    repository = "also make the folder that Blender installs and updates from: index.json and the zips"
    parser.add_argument("--repository", type=Path, metavar="DIR", help=repository)
    known = wheels.platforms()
    chosen = "for this platform only; may be given several times (all)"
    parser.add_argument("--platform", action="append", choices=known, metavar="NAME", help=f"{chosen}: {', '.join(known)}")
    without = "one zip without pyzmq, for a Blender whose Python has it, as Linux distributions build it"
    parser.add_argument("--without-wheels", action="store_true", help=without)
    bare = "leave out the engine (50 MB); then it is set up from a wheel or a folder that the user chooses"
    parser.add_argument("--without-engine", action="store_true", help=bare)
    cache = "where fetched wheels are kept (.venvs/wheels)"
    parser.add_argument("--cache", type=Path, default=CACHE, metavar="DIR", help=cache)
    return parser


def main() -> int:
    """Set up, then build there."""
    options = arguments().parse_args()
    if options.repository and options.without_wheels:
        arguments().error("--repository is for zips with their wheels: leave --without-wheels out")
    return environment.guarded(_run)


def _run(python: Path) -> int:
    words = [str(python), "-m", "scripts.extension.command", *_absolute(arguments().parse_args())]
    return subprocess.run(words, cwd=environment.ROOT, env=environment.variables(), check=False).returncode


def _absolute(options: argparse.Namespace) -> list[str]:
    """The same words with paths that hold in another folder."""
    words = ["--out", str(options.out.absolute()), "--cache", str(options.cache.absolute())]
    words += ["--repository", str(options.repository.absolute())] if options.repository else []
    words += ["--without-wheels"] if options.without_wheels else []
    words += ["--without-engine"] if options.without_engine else []
    return words + [word for platform in options.platform or () for word in ("--platform", platform)]


def build(options: argparse.Namespace) -> int:
    """Build and tell; 2 and a sentence for what can be mended."""
    try:
        made = _zips(options)
        for path in made:
            print(f"{path.stat().st_size / MEGABYTE:5.1f} MB  sha256 {wheels.digest(path)[:16]}  {path}")
        if options.repository:
            index = write_repository(made, options.repository)
            print(f"Blender, Get Extensions, Repositories, Add Remote Repository: {index.as_uri()}")
    except wheels.BuildError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename or options.out} cannot be used ({error.strerror}): choose another folder.", file=sys.stderr)
        return 2
    return 0


def _zips(options: argparse.Namespace) -> list[Path]:
    targets = [""] if options.without_wheels else options.platform or wheels.platforms()
    with tempfile.TemporaryDirectory() as folder:
        engine = [] if options.without_engine else build_engine(environment.ROOT, Path(folder))
        return [zips.build_zip(SOURCE, LICENCE, options.out, target, options.cache, engine) for target in targets]


if __name__ == "__main__":
    sys.exit(build(arguments().parse_args()))
