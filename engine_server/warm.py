# SPDX-License-Identifier: GPL-3.0-or-later
"""Teams that stay loaded on one device, within a budget of bytes; those that were used least recently go first."""

from __future__ import annotations

import contextlib
import logging
from collections import OrderedDict
from pathlib import Path

from .device import device_memory, give_back, precision
from .library import Located
from .teamwork import load_team
from .teamwork.team import Team

log = logging.getLogger(__name__)

SHARE = {"cpu": 0.25}
"""The budget as a share of the device's memory, where none is given; on graphics cards it is more."""
CARD_SHARE = 0.6

Stamp = tuple[tuple[str, int, int], ...]
Key = tuple[str, str | None, bool, Stamp]


class WarmTeams:
    """Loads teams and keeps them. `budget` is in bytes (0: a share of the device's memory).

    The team that is asked for is loaded however large it is; the budget decides which others stay beside it.
    """

    def __init__(self, device: str, budget: int = 0) -> None:
        self.device, self._budget = device, budget
        self._teams: OrderedDict[Key, Team] = OrderedDict()
        self._names: dict[Key, str] = {}

    def __len__(self) -> int:
        return len(self._teams)

    @property
    def names(self) -> tuple[str, ...]:
        """What is warm, by the names that jobs used, least recently used first."""
        return tuple(dict.fromkeys(self._names[key] for key in self._teams))

    @property
    def teams(self) -> list[Team]:
        """What is warm, least recently used first."""
        return list(self._teams.values())

    @property
    def size(self) -> int:
        """Bytes of all warm teams' numbers."""
        return sum(map(size_of, self._teams.values()))

    def get(self, place: Located, name: str, thrifty: bool = False) -> Team:
        """The team of a place, loaded now or before. A thrifty one works in parts, with less memory and more time."""
        key = (place.base, place.adapter, thrifty, stamp_of(place))
        if key not in self._teams:
            self._forget_other_files(key)
            self._make_room(self._expected(place))
            self._teams[key] = self._load(place, thrifty)
        self._names[key] = name
        self._teams.move_to_end(key)
        self._make_room(0)
        return self._teams[key]

    def _forget_other_files(self, key: Key) -> None:
        """Let go what was loaded of the same place before its files changed."""
        for old in [old for old in self._teams if old[:2] == key[:2] and old[3] != key[3]]:
            log.info("%s is loaded anew: its files have changed", self._names.pop(old))
            del self._teams[old]
            give_back(self.device)

    def _load(self, place: Located, thrifty: bool) -> Team:
        options = {"vae_tiling": True, "vae_slicing": True, "offload": self.device != "cpu"} if thrifty else {}
        team = load_team(place.base, place.adapter, self.device, precision(self.device, place.base), **options)
        if thrifty and team.native_size:
            team.tile = True
        return team

    def _expected(self, place: Located) -> int:
        """As large as a team of the same base, if there is one; else unknown, and room is made after loading."""
        return next((size_of(team) for key, team in self._teams.items() if key[0] == place.base), 0)

    def _make_room(self, for_size: int) -> None:
        budget = self._budget or self._share()
        while self._teams and self.size + for_size > budget and (for_size or len(self._teams) > 1):
            key, _ = self._teams.popitem(last=False)
            log.info("%s leaves %s: the budget of warm models is %.1f GB", self._names.pop(key), self.device, budget / 1e9)
            give_back(self.device)

    def _share(self) -> int:
        return round(device_memory(self.device)[1] * SHARE.get(self.device, CARD_SHARE))

    def clear(self) -> None:
        """Let all go."""
        self._teams.clear()
        self._names.clear()
        give_back(self.device)


def stamp_of(place: Located) -> Stamp:
    """What tells the files of a place from those that may lie there later: their names, times and sizes."""
    inside = (path for path in Path(place.base).rglob("*") if path.suffix in (".json", ".safetensors"))
    found = []
    for path in (*sorted(inside), *([Path(place.adapter)] if place.adapter else [])):
        with contextlib.suppress(OSError):  # a name within the base's folder, or a file that has just gone
            status = path.stat()
            found.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(found)


def size_of(team: Team) -> int:
    """Bytes of a team's numbers: network, adapters and autoencoder."""
    parts = (*team.base.network.parameters(), *team.base.vae.parameters())
    return sum(parameter.numel() * parameter.element_size() for parameter in parts)
