# SPDX-License-Identifier: GPL-3.0-or-later
"""Teamwork: T instances of one frozen diffusion network, coordinated by low-rank layers over all of them.

    from engine_server.teamwork import load_team
    team = load_team("nano")
    maps = team.run({"image": photo}, request=["albedo", "normals"])
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .config import CheckpointError, RequestError, TeamConfig, TeamError

if TYPE_CHECKING:
    from .team import Team

__all__ = ["CheckpointError", "RequestError", "TeamConfig", "TeamError", "load_team"]


def load_team(
    base: str | Path = "nano", adapter: str | Path | None = None, device: str = "cpu", dtype: str = "float32"
) -> Team:
    """Load a team: a bundled one by its name, or a base (diffusers folder or hub name) with an adapter file.

    `dtype` is "float32", "bfloat16" or "float16". Raises `TeamError` with one sentence that says what is wrong.
    """
    from ..diffusion.loading import load_team as load  # diffusers is needed here only, never by the method itself

    return load(base, adapter, device, dtype)
