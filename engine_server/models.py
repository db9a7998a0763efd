# SPDX-License-Identifier: GPL-3.0-or-later
"""Teams in folders: the bundled ones and those of the user. Reads headers only, and needs no torch.

A team is a folder, named like the team:

    base/                    a diffusers folder: model_index.json, transformer or unet, vae, scheduler, empty_prompt
    team.safetensors         the adapter, in the public Teamwork format, which names the teammates
    team.json                {"title", "licence", "native_size", "default_steps", "tasks"}

`tasks`, if there, says what is different for some tasks: {"synthesize": {"adapter": "more.safetensors", "steps": 8, "zero_start":
false, "solver": "euler"}}, any of them. `adapters` is short for adapters alone: {"shade": "scenes.safetensors"}. An adapter
that is for another base than the usual names its folder in `bases`: {"scenes.safetensors": "scenes_base"}.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from blender_addon.wire import ModelInfo, ProtocolError

from .abilities import TASKS, obstacle
from .teamwork import TeamError
from .teamwork.manner import Manner, manner_of

BUNDLED = Path(__file__).parent / "bundled"
FOLDERS_VARIABLE = "TEAMWORK_MODELS"
TEAM_FILE = "team.safetensors"
MAX_HEADER_BYTES = 100_000_000
FLOAT32_BYTES = 4
WORKING_SHARE = 1.5
"""Activations and the library itself, as a share of the weights: a rough figure, to warn before a job."""


class ModelError(ValueError):
    """A team's folder is not as expected; the text is a sentence that says what is."""


def team_folders(extra: Sequence[Path] = ()) -> dict[str, Path]:
    """The teams' folders by name: bundled, then in `extra` and the folders of TEAMWORK_MODELS. The first of a name wins."""
    found: dict[str, Path] = {}
    for parent in (BUNDLED, *listed_folders(extra)):
        for folder in _teams_in(parent):
            found.setdefault(folder.name, folder)
    return found


def listed_folders(extra: Sequence[Path] = ()) -> list[Path]:
    """The user's folders: `extra`, then those of TEAMWORK_MODELS."""
    listed = os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)
    return list(dict.fromkeys([*extra, *(Path(entry) for entry in listed if entry)]))


def _teams_in(parent: Path) -> Iterator[Path]:
    """The team that a folder is, or those that are in it."""
    if is_team(parent):
        yield parent
    elif parent.is_dir():
        yield from sorted(folder for folder in parent.iterdir() if is_team(folder))


def is_team(folder: Path) -> bool:
    """Does the folder hold a team?"""
    return (folder / TEAM_FILE).is_file()


def team_info(folder: Path) -> ModelInfo:
    """What a team's folder says about itself. Raises `ModelError`."""
    settings = _settings(folder / "team.json")
    metadata = read_header(folder / TEAM_FILE).get("__metadata__", {})
    manners = _manners(folder, settings)
    files = dict.fromkeys((TEAM_FILE, *(manner.adapter or TEAM_FILE for manner in manners.values())))
    teammates = {file: _teammates(folder / file) for file in files}
    weights = sorted(folder.rglob("*.safetensors"))
    try:
        return ModelInfo(
            name=folder.name,
            title=settings.get("title") or metadata.get("modelspec.title") or folder.name,
            licence=settings.get("licence", "not stated"),
            teammates=tuple(dict.fromkeys(name for names in teammates.values() for name in names)),
            tasks=tuple(t for t, m in manners.items() if not obstacle(t, teammates[m.adapter or TEAM_FILE], m)),
            size_bytes=sum(path.stat().st_size for path in weights),
            memory_bytes=round((1 + WORKING_SHARE) * FLOAT32_BYTES * sum(map(numbers_in, weights))),
            native_size=settings.get("native_size", 512),
            default_steps=settings.get("default_steps", 50),
        )
    except ProtocolError as error:
        raise ModelError(f"{folder / 'team.json'}: {error}") from error


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not a JSON file.") from error
    if not isinstance(settings, dict):
        raise ModelError(f"{path} is not a JSON object; expected title, licence, native_size and default_steps.")
    return settings


def _manners(folder: Path, settings: dict[str, Any]) -> dict[str, Manner]:
    try:
        return {task: manner_of(settings, task) for task in TASKS}
    except TeamError as error:
        raise ModelError(f"{folder / 'team.json'}: {error}") from error


def _teammates(file: Path) -> tuple[str, ...]:
    return tuple(metadata_of(file)["teamwork.teammates"].split(","))


def metadata_of(file: Path) -> dict[str, str]:
    """The metadata of a Teamwork checkpoint. Raises `ModelError` for any other file."""
    metadata = read_header(file).get("__metadata__", {})
    if metadata.get("modelspec.type") != "teamwork" or not metadata.get("teamwork.teammates"):
        raise ModelError(f"{file} is not a Teamwork checkpoint: its metadata name no teammates.")
    return metadata


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: eight bytes with its length, little-endian, then JSON. Raises `ModelError`."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 2 <= length <= MAX_HEADER_BYTES else None
    except (OSError, ValueError):
        header = None
    if not isinstance(header, dict):
        raise ModelError(f"{path} is not a whole safetensors file; fetch it again.")
    return header


def numbers_in(path: Path) -> int:
    """How many numbers a safetensors file holds. Raises `ModelError`."""
    header = read_header(path)
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def adapter_for(name: str, task: str) -> str | None:
    """The adapter file, inside a team's folder, that is for a task; None for the team's usual one."""
    folder = next((f for f in (Path(name), BUNDLED / name) if (f / TEAM_FILE).is_file()), None)
    return _manners(folder, _settings(folder / "team.json"))[task].adapter or None if folder and task in TASKS else None
