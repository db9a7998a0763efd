# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutations of messages, for tests and for the coverage-guided fuzzer."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

Frames = list[bytes]
Change = Callable[[Frames, random.Random], Frames]

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 1e308, -0.0, 0.5),
    *("", "x" * 5000, "\u202e", "\ud800", "a\nb", "../../x", "__proto__"),
    *([], [[]], {}, [0], [2**40, 2**40, 4], [2, 3], {"dtype": "float32"}),
)
"""Values that decoders have stumbled over."""


def mutated(frames: Frames, chance: random.Random) -> Frames:
    """A copy of a message with one to three random changes."""
    for _ in range(chance.randint(1, 3)):
        frames = chance.choice(CHANGES)(list(frames), chance)
    return frames


def _flip(frames: Frames, chance: random.Random) -> Frames:
    which = chance.randrange(len(frames)) if frames else 0
    if frames and frames[which]:
        data = bytearray(frames[which])
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        frames[which] = bytes(data)
    return frames


def _cut(frames: Frames, chance: random.Random) -> Frames:
    which = chance.randrange(len(frames)) if frames else 0
    if frames:
        frames[which] = frames[which][: chance.randrange(len(frames[which]) + 1)]
    return frames


def _grow(frames: Frames, chance: random.Random) -> Frames:
    frames.insert(chance.randrange(len(frames) + 1), chance.randbytes(chance.choice([0, 1, 72, 1000])))
    return frames


def _drop(frames: Frames, chance: random.Random) -> Frames:
    if frames:
        frames.pop(chance.randrange(len(frames)))
    return frames


def _twice(frames: Frames, chance: random.Random) -> Frames:
    return frames + frames[chance.randrange(len(frames)) :] if frames else frames


def _odd(frames: Frames, chance: random.Random) -> Frames:
    """Another value somewhere in the header's JSON."""
    try:
        header = json.loads(frames[1])
    except (IndexError, ValueError):
        return frames
    place, key = _place(header, chance)
    if place is not None:
        place[key] = chance.choice(ODD)
    return [frames[0], json.dumps(header).encode("utf-8", "surrogatepass"), *frames[2:]]


def _renamed(frames: Frames, chance: random.Random) -> Frames:
    """Another key somewhere in the header's JSON, or one too many."""
    try:
        header = json.loads(frames[1])
    except (IndexError, ValueError):
        return frames
    place, key = _place(header, chance)
    if isinstance(place, dict):
        place[f"{key}x"] = place.pop(key) if chance.random() < 0.5 else place[key]
    return [frames[0], json.dumps(header).encode("utf-8", "surrogatepass"), *frames[2:]]


def _place(header: Any, chance: random.Random) -> tuple[Any, Any]:
    """A random container in a JSON value, and a random key of it."""
    found: list[tuple[Any, Any]] = []
    waiting = [header]
    while waiting:
        value = waiting.pop()
        keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        found += [(value, key) for key in keys]
        waiting += [value[key] for key in keys]
    return chance.choice(found) if found else (None, None)


CHANGES: tuple[Change, ...] = (_flip, _flip, _cut, _grow, _drop, _twice, _odd, _odd, _odd, _renamed)
