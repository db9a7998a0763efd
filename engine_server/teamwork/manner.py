# SPDX-License-Identifier: GPL-3.0-or-later
"""How a team goes about each task, as its `team.json` says. No torch: the server reads it, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import TeamError

KINDS = {"adapter": str, "steps": int, "zero_start": bool, "solver": str}


FACTS = {
    int: ("native_size", "default_steps"),
    bool: ("zero_start", "tile"),
    str: ("title", "licence"),
    dict: ("bases", "turns", "shifts", "lapped", "most_steps", "always", "detail"),
}
"""What team.json may say of the whole team, by its kind."""
WORDS = {int: "a whole number from 1", bool: "true or false", str: "a text", dict: 'a table by adapter file, as {"team.safetensors": ...}'}


def settings_of(path: Path) -> dict[str, Any]:
    """What a `team.json` says; nothing where there is none. Raises `TeamError`."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8-sig"))  # some editors leave a mark in front
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise TeamError(f"{path} is not a JSON file: mend it, or remove it.") from error
    if not isinstance(settings, dict):
        raise TeamError(f"{path} is not a JSON object; expected title, licence, native_size and default_steps.")
    for kind, names in FACTS.items():
        for name in names:
            value = settings.get(name)
            if name in settings and (type(value) is not kind or (kind is int and value < 1)):
                raise TeamError(f"{path}: {name} is {json.dumps(value)[:80]}; expected {WORDS[kind]}.")
    return settings


@dataclass(frozen=True)
class Manner:
    """How a team goes about a task: the number of denoising steps where none is asked for, whether a single step starts from
    zero, the mean of the noise (such a team answers what it is given and invents nothing), the solver (None: the base's own),
    and the adapter's file ("": the team's usual one)."""

    steps: int = 50
    zero_start: bool = False
    solver: str | None = None
    adapter: str = ""


def manner_of(settings: Mapping[str, Any], task: str) -> Manner:
    """What a team's settings say of a task: {"tasks": {TASK: {"adapter", "steps", "zero_start", "solver"}}}, each of which may
    be missing; for all tasks together {"default_steps", "zero_start", "adapters": {TASK: FILE}}. Raises `TeamError`."""
    own, adapters = _checked(settings.get("tasks", {}), task), settings.get("adapters", {})
    if not isinstance(adapters, dict) or not all(isinstance(file, str) for file in adapters.values()):
        raise TeamError(f'The "adapters" of team.json are not as expected, {{"{task}": "scenes.safetensors"}}.')
    return Manner(
        steps=own.get("steps", settings.get("default_steps", 50)),
        zero_start=own.get("zero_start", settings.get("zero_start", False)),
        solver=own.get("solver"),
        adapter=own.get("adapter", adapters.get(task, "")),
    )


def _checked(tasks: Any, task: str) -> Mapping[str, Any]:
    own = tasks.get(task, {}) if isinstance(tasks, dict) else None
    if not isinstance(own, dict):
        raise TeamError(f'The "tasks" of team.json are not as expected, {{"{task}": {{"steps": 8}}}}.')
    wrong = [name for name, value in own.items() if type(value) is not KINDS.get(name)]
    if wrong:
        expected = ", ".join(f"{name} ({kind.__name__})" for name, kind in KINDS.items())
        raise TeamError(f"In team.json, {wrong[0]} of the task {task} is not as expected; there are {expected}.")
    if own.get("steps", 1) < 1:
        raise TeamError(f"In team.json, the task {task} has {own['steps']} steps; expected 1 or more.")
    return own
