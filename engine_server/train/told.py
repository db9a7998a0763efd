# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run was told, kept with its state: what must be the same when it is taken up again, and what is set otherwise."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .config import TrainConfig

NUMBERS = (
    *("seed", "steps", "minutes", "batch", "accumulate", "crop", "optimizer", "learning_rate", "schedule", "warmup"),
    *("weight_decay", "clip", "precision"),
)
PARTS = ("stage", "base", "network", "options", "data")


def settings_of(config: TrainConfig) -> dict[str, Any]:
    """What a run was told that changes its numbers, as JSON keeps it."""
    told = dataclasses.asdict(config)
    return json.loads(json.dumps({name: told[name] for name in (*NUMBERS, *PARTS)}, default=str))


def another(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Why a state is of another run than what is asked for now, to follow "is of a run "; empty where it is of this one.

    Adapters lie in the state by number alone. So those of other teammates would fit as well, and do what they were not trained for.
    States of earlier versions that do not tell are taken as they are, and so is a base that has moved: `changes` says so.
    """
    if not set(PARTS) <= set(before):
        return ""
    if before["stage"] != now["stage"]:
        return f"of the stage {before['stage']}"
    if Path(before["base"]).exists() and Path(before["base"]).resolve() != Path(now["base"]).resolve():
        return f"on the base {before['base']}"
    if _teammates(before) != _teammates(now):
        return f"with the teammates {', '.join(_teammates(before))}"
    return ""


def _teammates(told: dict[str, Any]) -> list[str]:
    """Whose weights a run trains, in the order in which they lie in the state."""
    options = told["options"]
    if told["stage"] == "estimate":
        given, wanted = ([name for data in told["data"] for name in data[key]] for key in ("given", "wanted"))
        return [f"{n}.in" for n in (*given[:1], *sorted(set(given) - set(given[:1])))] + [f"{n}.out" for n in sorted(set(wanted))]
    if told["stage"] == "joint":
        return [Path(path).stem for path in options["teams"]]
    hub = [f"{options['hub']} as the hub"] if "hub" in options else []
    return [*(options if told["stage"] == "unison" else told["network"]).get("teammates", ()), *hub]


def changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What is set otherwise than in the run that is taken up."""
    known = {name: value for name, value in now.items() if name in before}
    was, is_now = dict(_flat(before)), dict(_flat(known))
    differing = [n for n in dict.fromkeys([*is_now, *was]) if was.get(n) != is_now.get(n)]
    only_once = {n.removesuffix("folder") for n in differing if n.endswith(".folder") and not (n in was and n in is_now)}
    differing = [n for n in differing if n.endswith(".folder") or not n.startswith(tuple(only_once))]  # of a new set, just where it is
    told = [f"{name} was {was[name]}" if name in was else f"{name} was not set" for name in differing]
    return f" (set otherwise: {', '.join(told)})" if told else ""


def _flat(told: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each single value with its name, such as `options.keep`, or `data.2.weight` of the second data set."""
    tables = isinstance(told, list) and told and all(isinstance(entry, dict) for entry in told)
    entries = told.items() if isinstance(told, dict) else enumerate(told, 1) if tables else None
    if entries is None:
        yield name, told
        return
    for key, value in entries:
        yield from _flat(value, f"{name}.{key}" if name else str(key))
