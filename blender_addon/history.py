# SPDX-License-Identifier: GPL-3.0-or-later
"""What was made in this file, by the record that every result carries: kept with the file, and enough to make it again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import bpy

from .landing import PREFIX

KINDS = ("materials", "node_groups", "images")
"""The collections that results are in; the first that has one of a job names it."""
FRESH_SECONDS = 1.0
FACTS = ("task", "model", "seed", "steps", "size", "seconds", "source", "time")


@dataclass
class Made:
    """What one job has made: `names` are (collection, name) of its datablocks, `facts` how it was made."""

    job_id: str
    facts: dict[str, Any]
    operator: str
    settings: dict[str, Any]
    names: list[tuple[str, str]] = field(default_factory=list)

    @property
    def datablock(self) -> bpy.types.ID | None:
        """The one that stands for the others; None if it has gone meanwhile."""
        kind, name = self.names[0]
        return getattr(bpy.data, kind).get(name)


class _Seen:
    """The last answer: panels ask at every redraw."""

    at = float("-inf")
    made: list[Made] = []


def made() -> list[Made]:
    """All that was made in this file, newest first; at most a second old."""
    if time.monotonic() - _Seen.at > FRESH_SECONDS:
        _Seen.made, _Seen.at = _look(), time.monotonic()
    return _Seen.made


def forget() -> None:
    """Look anew next time."""
    _Seen.at = float("-inf")


def find(job_id: str) -> Made | None:
    """What a job has made, looked up now."""
    return next((each for each in _look() if each.job_id == job_id), None)


def _look() -> list[Made]:
    found: dict[str, Made] = {}
    for kind in KINDS:
        for block in getattr(bpy.data, kind):
            job_id = block.get(PREFIX + "job")
            if isinstance(job_id, str):
                each = found.setdefault(job_id, _read(job_id, block))
                each.names.append((kind, block.name))
    return sorted(found.values(), key=lambda each: str(each.facts["time"]), reverse=True)


def _read(job_id: str, block: bpy.types.ID) -> Made:
    facts = {name: block.get(PREFIX + name, "") for name in FACTS}
    try:
        settings = json.loads(block.get(PREFIX + "settings", "{}"))
    except (ValueError, TypeError):
        settings = {}
    return Made(job_id, facts, str(block.get(PREFIX + "operator", "")), settings if isinstance(settings, dict) else {})
