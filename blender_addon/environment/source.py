# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the engine's code comes from: its wheel inside the extension, the repository around it, or what the user chose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import SetupError

PACKAGE = "teamwork-blender"
ADDON = Path(__file__).resolve().parents[1]
BUNDLED = "bundled"
"""The folder of the installed extension that holds the engine's wheel and the versions that are known to work."""


@dataclass(frozen=True)
class Source:
    """What pip is given: a wheel, a folder or a requirement; versions to keep to, if known; a mark that tells two apart."""

    what: str
    constraints: Path | None
    mark: str

    @property
    def requirement(self) -> str:
        """As pip takes it, with all that the engine needs."""
        path = Path(self.what)
        if path.exists():
            return f"{PACKAGE}[engine] @ {path.resolve().as_uri()}"
        return f"{PACKAGE}[engine] @ {self.what}" if "://" in self.what else self.what


def find(chosen: str = "") -> Source:
    """The chosen wheel, folder or requirement; else the wheel that came with the extension; else the repository.

    Raises `SetupError` if there is none of them.
    """
    if chosen:
        return _chosen(chosen)
    wheel = bundled_wheel()
    if wheel is not None:
        return Source(str(wheel), _constraints(wheel.parent), _mark(wheel))
    root = ADDON.parent
    if (root / "pyproject.toml").is_file() and (root / "engine_server").is_dir():
        return Source(str(root), _constraints(root), str(root))
    raise SetupError(
        "This copy of the add-on came without its engine: choose the engine's wheel or its folder under"
        " Preferences, Set Up, Engine from."
    )


def bundled_wheel() -> Path | None:
    """The engine's wheel that came with the extension."""
    return next(iter(sorted((ADDON / BUNDLED).glob(f"{PACKAGE.replace('-', '_')}-*.whl"))), None)


def _chosen(text: str) -> Source:
    path = Path(text).expanduser()
    if path.is_file() and path.suffix == ".whl":
        return Source(str(path), _constraints(path.parent), _mark(path))
    if path.is_dir() and (path / "pyproject.toml").is_file():
        return Source(str(path), _constraints(path), str(path))
    if path.exists():
        raise SetupError(f"{path} is neither a wheel (.whl) nor a folder with a pyproject.toml: choose the engine's.")
    if "://" not in text and ("/" in text or "\\" in text or text.endswith(".whl")):
        raise SetupError(f"There is no {text}: choose the engine's wheel or folder, or leave the field empty.")
    return Source(text, None, text)


def _constraints(folder: Path) -> Path | None:
    file = folder / "constraints.txt"
    return file if file.is_file() else None


def _mark(wheel: Path) -> str:
    return f"{wheel.name} {wheel.stat().st_size}"
