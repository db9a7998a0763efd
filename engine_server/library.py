# SPDX-License-Identifier: GPL-3.0-or-later
"""All models by name, wherever they are: teams, bases and adapters that came along, lie in folders, were or can be fetched.

A job names a team ("nano"), an adapter whose base is known, or a base and an adapter with a plus between. In the folders
of the user (see `models`) a diffusers folder is a base, and a Teamwork checkpoint an adapter, named like the file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blender_addon.wire import ModelInfo, ProtocolError
from blender_addon.wire.limits import MAX_ITEMS

from .abilities import TASKS, obstacle, some_of
from .hub.offers import ADAPTER, BASE, Offer, offers, with_base
from .hub.store import Installed, installed
from .models import (
    BUNDLED,
    FLOAT32_BYTES,
    WORKING_SHARE,
    ModelError,
    adapter_for,
    bytes_of,
    content,
    home_content,
    is_team,
    listed_folders,
    metadata_of,
    numbers_in,
    one_line,
    team_folders,
    team_info,
    teammates_in,
)
from .teamwork.manner import Manner

log = logging.getLogger(__name__)

TEAM = "team"
BUNDLED_HERE, IN_FOLDER, FETCHED, AT_HUB = "bundled", "in a folder", "fetched", "at the hub"
HALF_BYTES = 2


@dataclass(frozen=True)
class Entry:
    """One model. `kind` is team, base or adapter; `place` says where it is, `path` what is loaded (None: not here yet).

    `memory_bytes` is the need of a team or a base in the precision that it is used in, 0 where it is not known. `token`:
    the hub asks for one. `base` is an adapter's, by name, "" where there is none that fits.
    """

    name: str
    kind: str
    place: str
    title: str
    licence: str
    size_bytes: int = 0
    memory_bytes: int = 0
    token: bool = False
    base: str = ""
    path: Path | None = None
    offer: Offer | None = None


class Unavailable(ValueError):
    """A job's model cannot be used; `code` is one of the protocol's, the text a sentence that says what to do."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Located:
    """What `load_team` loads a model by: a base's or a team's folder, and an adapter's file (None: the team's own)."""

    base: str
    adapter: str | None


def entries(extra: Sequence[Path] = ()) -> dict[str, Entry]:
    """All models by name. Of one name teams win, then what was fetched, then what lies in folders, then what is offered."""
    found: dict[str, Entry] = {}
    here = installed()
    known = [*_teams(extra), *map(_fetched, here.values()), *_loose(extra), *map(_offered, offers().values())]
    for entry in known:
        if entry.name.isprintable():
            found.setdefault(entry.name, entry)
        else:
            log.warning("the model %r is left out: rename it without characters that cannot be printed", entry.name)
    return found


def _teams(extra: Sequence[Path]) -> Iterator[Entry]:
    for name, folder in team_folders(extra).items():
        place = BUNDLED_HERE if folder.parent == BUNDLED else IN_FOLDER
        try:
            info = team_info(folder)
        except ModelError as error:
            yield Entry(name, TEAM, place, f"damaged: {error}", "not stated", path=folder)
        else:
            yield Entry(name, TEAM, place, info.title, info.licence, info.size_bytes, info.memory_bytes, path=folder)


def _fetched(model: Installed) -> Entry:
    offer = offers().get(model.name)
    title = offer.title if offer else model.repo
    memory = _memory(offer.parameters) if offer else 0
    return Entry(
        *(model.name, model.kind, FETCHED, title, model.licence, model.size_bytes, memory),
        **{"base": model.base, "path": model.path, "offer": offer},
    )


def _offered(offer: Offer) -> Entry:
    needed = with_base(offer)
    memory = _memory(sum(each.parameters for each in needed))
    token = any(each.gated for each in needed)
    return Entry(
        *(offer.name, offer.kind, AT_HUB, offer.title, offer.licence, offer.size_bytes, memory, token),
        **{"base": offer.base, "offer": offer},
    )


def _memory(parameters: int) -> int:
    """Large bases are used in half precision, on the devices that they are for."""
    return round(WORKING_SHARE * HALF_BYTES * parameters)


def _loose(extra: Sequence[Path]) -> Iterator[Entry]:
    """Bases and adapters that lie in the user's folders on their own."""
    for path in _lying(extra):
        try:
            entry = _loose_base(path) if path.is_dir() else _loose_adapter(path)
        except (ModelError, OSError) as error:
            log.warning("%s is left out: %s", path, error)
            continue
        if entry:
            yield entry


def _lying(extra: Sequence[Path]) -> Iterator[Path]:
    for parent in listed_folders(extra):
        if parent.is_dir() and not is_team(parent):
            yield from content(parent)
    yield from (path for path in home_content() if path.is_file())  # folders there are fetched, perhaps not wholly yet


def _loose_base(folder: Path) -> Entry | None:
    if not any((folder / part / "config.json").is_file() for part in ("transformer", "unet")):
        return None
    size = sum(map(bytes_of, folder.rglob("*.safetensors")))
    return Entry(folder.name, BASE, IN_FOLDER, folder.name, "not stated", size, _memory(base_numbers(folder)), path=folder)


def base_numbers(folder: Path) -> int:
    """How many numbers a base's network and autoencoder hold; 0 if their files are damaged."""
    files = (path for part in ("transformer", "unet", "vae") for path in (folder / part).glob("*.safetensors"))
    try:
        return sum(map(numbers_in, files))
    except ModelError:
        return 0


def _loose_adapter(path: Path) -> Entry | None:
    if path.suffix != ".safetensors":
        return None
    try:
        metadata = metadata_of(path)
    except ModelError:
        return None
    title = one_line(metadata.get("modelspec.title")) or path.stem
    base = _base_named(metadata.get("base_model", ""))
    return Entry(path.stem, ADAPTER, IN_FOLDER, title, "not stated", bytes_of(path), base=base, path=path)


def _base_named(made_for: str) -> str:
    """The base's name for what an adapter's metadata say that it was made for: a repository, or the name of a folder."""
    for offer in offers().values():
        if offer.kind == BASE and offer.repo == made_for:
            return offer.name
    return Path(made_for).name


def usable(extra: Sequence[Path] = ()) -> tuple[ModelInfo, ...]:
    """What jobs can name just now: teams, and adapters whose base is here. A damaged one is left out, and the log says why."""
    known = entries(extra)
    infos = []
    for entry in known.values():
        try:
            infos.extend(_usable(entry, known))
        except (ModelError, ProtocolError) as error:
            log.warning("%s is left out: %s", entry.name, error)
    return tuple(listed(infos))


def listed(models: Sequence[Any]) -> Sequence[Any]:
    """As many models as one message holds."""
    if len(models) > MAX_ITEMS:
        log.warning("of %d models only the first %d are listed: move some to another folder", len(models), MAX_ITEMS)
    return models[:MAX_ITEMS]


def _usable(entry: Entry, known: dict[str, Entry]) -> Iterator[ModelInfo]:
    base = known.get(entry.base)
    if entry.kind == TEAM:
        yield team_info(entry.path)
    elif entry.kind == ADAPTER and entry.path and base and base.kind == BASE and base.path:
        yield ModelInfo(
            name=entry.name,
            title=entry.title,
            licence=_joined(entry.licence, base.licence),
            teammates=(teammates := teammates_in(metadata_of(entry.path))),
            tasks=tuple(task for task in TASKS if not obstacle(task, teammates, Manner())),
            size_bytes=entry.size_bytes + base.size_bytes,
            memory_bytes=base.memory_bytes + round(FLOAT32_BYTES * numbers_in(entry.path)),
            native_size=512,
            default_steps=50,
        )


def able(task: str, extra: Sequence[Path] = ()) -> list[str]:
    """The models that can do a task, by name."""
    return [info.name for info in usable(extra) if task in info.tasks]


def _joined(one: str, other: str) -> str:
    return one if one == other else f"{one}; base: {other}"


def locate(name: str, task: str = "", extra: Sequence[Path] = ()) -> Located:
    """What a job's model is loaded from. Raises `Unavailable` if it is not here or damaged, or if nobody knows it."""
    folder = team_folders(extra).get(name)
    if folder:
        return located(folder, task)
    known = entries(extra)
    left, plus, right = name.partition("+")
    first = _here(left, known)
    if plus:
        return Located(str(first.path), _adapter_of(first, right, known))
    if first.kind == BASE:
        raise Unavailable("unknown-model", f"{name} is a base: name an adapter for it, too, as in {name}+ADAPTER.")
    return Located(str(_base_of(first, known).path), str(first.path))


def located(folder: Path, task: str) -> Located:
    """What a team in a folder is loaded from, for a task. Raises `Unavailable` if it is damaged."""
    try:
        file = adapter_for(str(folder), task)
        return Located(str(folder), str(folder / file) if file else None)
    except ModelError as error:
        raise Unavailable("bad-request", str(error)) from error


def _here(name: str, known: dict[str, Entry]) -> Entry:
    entry = known.get(name)
    if entry is None:
        offered = some_of([each.name for each in known.values() if each.path and each.kind != BASE])
        raise Unavailable("unknown-model", f"There is no model {name[:64]!r}; installed: {offered}.")
    if entry.path is None:
        raise Unavailable("model-missing", missing(entry))
    return entry


def _adapter_of(first: Entry, name: str, known: dict[str, Entry]) -> str:
    if first.kind == TEAM and (first.path / name).is_file() and Path(name).name == name:
        return str(first.path / name)
    second = _here(name, known)
    if second.kind != ADAPTER:
        raise Unavailable("unknown-model", f"{name} is a {second.kind}, not an adapter for {first.name}.")
    return str(second.path)


def _base_of(adapter: Entry, known: dict[str, Entry]) -> Entry:
    if adapter.base not in known:
        made_for = adapter.base or "a base that its file does not name"
        sentence = f"{adapter.name} was made for {made_for}, which is not here: name one that fits, as in BASE+{adapter.name}."
        raise Unavailable("unknown-model", sentence)
    return _here(adapter.base, known)


def missing(entry: Entry) -> str:
    """The sentence for a model that is known but not here: what it takes to get it."""
    size = f"{entry.size_bytes / 1e9:.1f} GB, " if entry.size_bytes else ""
    token = ", and a token that has accepted it" if entry.token else ""
    return (
        f"The model {entry.name} is not on the engine's disk yet ({size}licence: {entry.licence}{token}):"
        f" get it with `python -m engine_server models get {entry.name}`, or have the client ask for it."
    )

