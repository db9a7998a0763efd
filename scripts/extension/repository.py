# SPDX-License-Identifier: GPL-3.0-or-later
"""The static folder that Blender installs and updates from: the zips, and the `index.json` that lists them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .tool import extension_tool
from .wheels import BuildError

INDEX = "index.json"


def write_repository(zips: list[Path], folder: Path) -> Path:
    """Put the zips into the folder and let Blender list what is there; gives the path of `index.json`.

    Zips of older versions stay in the folder, but only the newest of each platform is listed: where two are, Blender
    compares with the last and installs the first. Raises `BuildError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in zips:
        if path.parent.resolve() != folder.resolve():
            shutil.copyfile(path, folder / path.name)
    extension_tool("server-generate", "--repo-dir", str(folder))
    listing = json.loads((folder / INDEX).read_text("utf-8"))
    _require_all(folder, listing["data"])
    listing["data"] = newest(listing["data"])
    (folder / INDEX).write_text(json.dumps(listing, indent=2) + "\n", "utf-8", newline="\n")
    return folder / INDEX


def newest(entries: list[dict]) -> list[dict]:
    """The newest version for each extension and platform, by file name: Blender lists them as they come."""
    best: dict[tuple, dict] = {}
    for entry in sorted(entries, key=lambda entry: [int(part) for part in entry["version"].split(".")]):
        best[entry["id"], tuple(entry.get("platforms", ()))] = entry
    return sorted(best.values(), key=lambda entry: entry["archive_url"])


def _require_all(folder: Path, entries: list[dict]) -> None:
    """Every zip of the folder has to be listed: one that Blender cannot read is left out with a message and status 0."""
    listed = {Path(entry["archive_url"]).name for entry in entries}
    missing = sorted(path.name for path in folder.glob("*.zip") if path.name not in listed)
    if missing:
        raise BuildError(f"Blender cannot read {', '.join(missing)} in {folder}: take it away or build it again.")
