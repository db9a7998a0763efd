# SPDX-License-Identifier: GPL-3.0-or-later
"""Which folder a team's name or path means, and which file an adapter's: one of the team's own, or the user's. No torch."""

from __future__ import annotations

import os
from pathlib import Path

from .config import TeamError


BUNDLED = Path(__file__).parent.parent / "bundled"
TEAM_FILE = "team.safetensors"


def team_folder(name: str | Path) -> Path | None:
    """The folder of a team with its base, given as a path or by a bundled team's name; None where there is none such."""
    return next((f for f in (Path(name), BUNDLED / name) if (f / TEAM_FILE).is_file() and (f / "base").is_dir()), None)


def own_adapter(folder: Path, adapter: str | Path) -> Path | None:
    """The file of a team's folder that `adapter` means; None where that is a file elsewhere.

    A bare name is looked up in the team first, a name with a folder part is the user's path. Raises `TeamError` for a bare name
    that the team and the working folder both have. `Path` drops a leading "./", so that this only counts in a text.
    """
    users, inside = Path(adapter), folder / adapter
    bare = os.path.basename(adapter) == str(adapter)
    if users.is_file() and not (inside.is_file() and users.samefile(inside)):
        if not (bare and inside.is_file()):
            return None
        raise TeamError(
            f"{adapter} is a file here and one of the team in {folder}: write {os.path.join('.', adapter)} for the one here, "
            f"{inside} for the team's."
        )
    if users.is_file():
        return folder / users.name if users.parent.resolve() == folder.resolve() else None
    return inside if inside.is_file() else None
