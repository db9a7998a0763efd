# SPDX-License-Identifier: GPL-3.0-or-later
"""The Blenders that the add-on is tested in, each in an environment of its own under `.venvs/`. Standard library only.

None has torch: the engine runs from `.venv`, as it runs outside Blender for everyone. None has pyzmq either: it comes
with the extension.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from . import environment
from .environment import ROOT, SetupError

TOOLS = ("pytest", "hypothesis", "pillow")
NUMPY_1 = "numpy==1.26.4"
OPENIMAGEIO = "openimageio==3.0.6.1"


@dataclass(frozen=True)
class Host:
    """One Blender: its name here, the version of its Python module, its Python, and what its environment needs more."""

    name: str
    bpy: str
    python: tuple[int, int]
    more: tuple[str, ...] = field(default=())

    @property
    def folder(self) -> Path:
        """Its environment."""
        return ROOT / ".venvs" / f"blender-{self.name}"


HOSTS = (
    # 4.2's module takes any NumPy and brings no OpenImageIO, with which the tests read what was rendered
    Host("4.2", "4.2.23", (3, 11), (NUMPY_1, OPENIMAGEIO)),
    Host("4.5", "4.5.15", (3, 11)),
    Host("5.0", "5.0.1", (3, 11)),
    Host("5.2", "5.2.3", (3, 13)),
)


def chosen(words: str) -> list[Host]:
    """The hosts that "all" or "4.2,5.2" names. Raises `SetupError`."""
    names = [host.name for host in HOSTS]
    wanted = names if words == "all" else words.split(",")
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise SetupError(f"There is no host {', '.join(unknown)}: give all, or some of {', '.join(names)} with commas.")
    return [host for host in HOSTS if host.name in wanted]


def ensure_host(host: Host, say: environment.Say = print) -> Path:
    """Make the environment of a host unless it is there; gives its Python. Raises `SetupError`."""
    base = find_python(host.python)
    folder, python = host.folder, environment.python_of(host.folder)
    packages = [f"bpy=={host.bpy}", *host.more, *pins(TOOLS)]
    stamp, wanted = folder / environment.STAMP, hashlib.sha256("\n".join([str(base), *packages]).encode()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    say(f"Setting up {folder} (once; 1 GB)")
    made = subprocess.run([str(base), "-m", "venv", "--clear", str(folder)], capture_output=True, text=True, check=False)
    if made.returncode:
        raise SetupError(f"The environment {folder} cannot be made: {' '.join((made.stderr or made.stdout).split())}")
    environment.install(python, folder, packages, say)
    stamp.write_text(wanted, "utf-8")
    return python


def pins(names: tuple[str, ...], root: Path = ROOT) -> list[str]:
    """The lines of constraints.txt for these packages."""
    lines = (root / "constraints.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line.split("==")[0] in names]


def find_python(version: tuple[int, int]) -> Path:
    """A Python of this version: the running one, one on the search path, one of pyenv's. Raises `SetupError`."""
    text = f"{version[0]}.{version[1]}"
    if sys.version_info[:2] == version:
        return Path(sys.executable)
    home = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    places = [shutil.which(f"python{text}"), *sorted(glob.glob(f"{home}/versions/{text}.*/bin/python"), reverse=True)]
    for place in filter(None, places):
        if _version_of(place) == text:
            return Path(place)
    raise SetupError(f"There is no Python {text} here, which this Blender needs: install it, for example with pyenv.")


def _version_of(python: str) -> str:
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    said = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    return said.stdout.strip() if said.returncode == 0 else ""
