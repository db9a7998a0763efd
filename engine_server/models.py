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
import logging
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from blender_addon.wire import ModelInfo, ProtocolError

from .abilities import TASKS, obstacle
from .failures import printable
from .hub.store import models_folder
from .teamwork import TeamError
from .teamwork.adapters import BUNDLED, TEAM_FILE
from .teamwork.manner import Manner, manner_of, settings_of

log = logging.getLogger(__name__)

FOLDERS_VARIABLE = "TEAMWORK_MODELS"
MAX_HEADER_BYTES = 100_000_000
FLOAT32_BYTES = 4
WORKING_SHARE = 1.5
"""Activations and the library itself, as a share of the weights: a rough figure, to warn before a job."""
LONGEST_TITLE = 200


class ModelError(ValueError):
    """A team's folder is not as expected; the text is a sentence that says what is."""


def one_line(text: Any) -> Any:
    """A text of somebody else's on one line, printable and not without end; what is no text as it is."""
    return printable(text)[:LONGEST_TITLE] if isinstance(text, str) else text


def team_folders(extra: Sequence[Path] = ()) -> dict[str, Path]:
    """The teams' folders by name: bundled, then in `extra`, the folders of TEAMWORK_MODELS and the home's own. The first of a name
    wins."""
    found: dict[str, Path] = {}
    for parent in (BUNDLED, *listed_folders(extra)):
        for folder in _teams_in(parent):
            found.setdefault(folder.name, folder)
    for folder in home_content():
        if is_team(folder) and (folder / "base").is_dir():  # a fetched adapter lies there without one
            found.setdefault(folder.name, folder)
    return found


def home_content() -> list[Path]:
    """What lies in the home's folder of models, fetched or put there by the user."""
    folder = models_folder()
    return content(folder) if folder.is_dir() else []


def listed_folders(extra: Sequence[Path] = ()) -> list[Path]:
    """The user's folders: `extra`, then those of TEAMWORK_MODELS."""
    listed = os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)
    return list(dict.fromkeys([*extra, *(Path(entry) for entry in listed if entry)]))


def _teams_in(parent: Path) -> Iterator[Path]:
    """The team that a folder is, or those that are in it."""
    if is_team(parent):
        yield parent
    elif parent.is_dir():
        yield from (folder for folder in content(parent) if is_team(folder))


def content(folder: Path) -> list[Path]:
    """What a folder holds, in order; nothing where it cannot be read, and the log says so."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        log.warning("%s cannot be read: %s", folder, error.strerror)
        return []


def is_team(folder: Path) -> bool:
    """Does the folder hold a team?"""
    try:
        return (folder / TEAM_FILE).is_file()
    except OSError:  # a folder that may not be entered
        return False


def team_info(folder: Path) -> ModelInfo:
    """What a team's folder says about itself. Raises `ModelError`."""
    settings = _settings(folder / "team.json")
    metadata = _metadata(folder / TEAM_FILE)
    manners = _manners(folder, settings)
    files = dict.fromkeys((TEAM_FILE, *(manner.adapter or TEAM_FILE for manner in manners.values())))
    teammates = {file: _teammates(folder / file) for file in files}
    weights = sorted(folder.rglob("*.safetensors"))
    try:
        return ModelInfo(
            name=folder.name,
            title=one_line(settings.get("title") or metadata.get("modelspec.title") or folder.name),
            licence=one_line(settings.get("licence", "not stated")),
            teammates=tuple(dict.fromkeys(name for names in teammates.values() for name in names)),
            tasks=tuple(t for t, m in manners.items() if not obstacle(t, teammates[m.adapter or TEAM_FILE], m)),
            size_bytes=sum(map(bytes_of, weights)),
            memory_bytes=round((1 + WORKING_SHARE) * FLOAT32_BYTES * sum(map(numbers_in, weights))),
            native_size=settings.get("native_size", 512),
            default_steps=settings.get("default_steps", 50),
        )
    except ProtocolError as error:
        raise ModelError(f"{folder / 'team.json'}: {error}") from error


def _settings(path: Path) -> dict[str, Any]:
    try:
        return settings_of(path)
    except TeamError as error:
        raise ModelError(str(error)) from error


def _manners(folder: Path, settings: dict[str, Any]) -> dict[str, Manner]:
    try:
        return {task: manner_of(settings, task) for task in TASKS}
    except TeamError as error:
        raise ModelError(f"{folder / 'team.json'}: {error}") from error


def _teammates(file: Path) -> tuple[str, ...]:
    return teammates_in(metadata_of(file))


def teammates_in(metadata: dict[str, str]) -> tuple[str, ...]:
    """The teammates that the metadata of a Teamwork checkpoint name, in order."""
    return tuple(name.strip() for name in metadata["teamwork.teammates"].split(","))


def _metadata(file: Path) -> dict[str, str]:
    """The texts among the metadata of a safetensors file; none where it has none. Raises `ModelError`."""
    metadata = read_header(file).get("__metadata__")
    return {k: v for k, v in metadata.items() if isinstance(v, str)} if isinstance(metadata, dict) else {}


def metadata_of(file: Path) -> dict[str, str]:
    """The metadata of a Teamwork checkpoint. Raises `ModelError` for any other file."""
    metadata = _metadata(file)
    if metadata.get("modelspec.type") != "teamwork" or not metadata.get("teamwork.teammates"):
        raise ModelError(f"{file} is not a Teamwork checkpoint: its metadata name no teammates.")
    return metadata


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: eight bytes with its length, little-endian, then JSON. Raises `ModelError`."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 2 <= length <= MAX_HEADER_BYTES else None
    except (OSError, ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise ModelError(f"{path} is not a whole safetensors file; fetch it again.")
    return header


def numbers_in(path: Path) -> int:
    """How many numbers a safetensors file holds. Raises `ModelError`."""
    header = read_header(path)
    try:
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (TypeError, KeyError) as error:
        raise ModelError(f"{path} is not a whole safetensors file; fetch it again.") from error


def bytes_of(path: Path) -> int:
    """How large a file is. Raises `ModelError` where it cannot be told, as of a link that leads nowhere."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): put the file back, or remove the link to it.") from error


def adapter_for(name: str, task: str) -> str | None:
    """The adapter file, inside a team's folder, that is for a task; None for the team's usual one."""
    folder = next((f for f in (Path(name), BUNDLED / name) if (f / TEAM_FILE).is_file()), None)
    return _manners(folder, _settings(folder / "team.json"))[task].adapter or None if folder and task in TASKS else None
