# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetched models on this disk: one folder each in the engine's home, with a record that is written last."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from blender_addon.wire import home_folder

from .offers import ADAPTER, Offer

RECORD = "teamwork.json"
PARTIAL = ".part"


@dataclass(frozen=True)
class Installed:
    """A model that is here, whole. `licence` is what the hub's page states; `commit` is the repository's."""

    name: str
    kind: str
    repo: str
    commit: str
    licence: str
    file: str
    base: str
    family: str
    size_bytes: int
    folder: Path

    @property
    def path(self) -> Path:
        """What is loaded: a base's folder, or an adapter's file."""
        return self.folder / self.file if self.kind == ADAPTER else self.folder


def models_folder(home: Path | None = None) -> Path:
    """Where fetched models are kept. Makes nothing."""
    return home_folder(home) / "models"


def installed(home: Path | None = None) -> dict[str, Installed]:
    """The whole models of a home by name. A folder without a record is one that is being fetched, or was left so."""
    found = {}
    for record in sorted(models_folder(home).glob(f"*/{RECORD}")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            entries = json.loads(record.read_text(encoding="utf-8"))
            found[record.parent.name] = Installed(**entries, folder=record.parent)
    return found


def write_record(offer: Offer, folder: Path, commit: str, licence: str) -> Installed:
    """Say that the model in `folder` is whole."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    made = Installed(
        *(offer.name, offer.kind, offer.repo, commit, licence),
        *(offer.file, offer.base, offer.family, size, folder),
    )
    entries = {name: value for name, value in asdict(made).items() if name != "folder"}
    staged = folder / f"{RECORD}{PARTIAL}"
    staged.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    os.replace(staged, folder / RECORD)
    return made


def begun(name: str, home: Path | None = None) -> int:
    """Bytes of a model that were fetched before it was interrupted; 0 for none."""
    folder = models_folder(home) / name
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def remove(name: str, home: Path | None = None) -> int | None:
    """Delete a model, whole or begun; returns the bytes that are free now, None if there is none of that name.

    The record goes first, so that nobody takes what is left for whole.
    """
    folder = models_folder(home) / name
    if name in ("", ".", "..") or Path(name).name != name or not folder.is_dir():
        return None
    size = begun(name, home)
    (folder / RECORD).unlink(missing_ok=True)
    shutil.rmtree(folder)
    return size
