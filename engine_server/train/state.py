# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's state on disk, for an exact resume: one safetensors file, with numbers as JSON in its metadata.

There is no random state in it: all that is random about a batch follows from the seed and the number of the batch (see
`seeds`), so that the step alone says where the data and every generator stand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..whole import whole_file
from .errors import ConfigError

KIND = "teamwork training state 1"
Tensor = torch.Tensor


@dataclass(frozen=True)
class State:
    """Where a run stands: optimiser steps done, seconds spent, parameters, optimiser, and what the run was told."""

    step: int
    seconds: float
    parameters: list[Tensor]
    optimizer: dict[str, Any]
    settings: dict[str, Any]


def write_state(path: Path, state: State) -> None:
    """Write a state; the file appears whole or not at all."""
    tensors = {f"parameter.{i}": tensor for i, tensor in enumerate(state.parameters)}
    numbers: dict[str, dict[str, Any]] = {}
    for i, entries in state.optimizer["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{i}.{name}"] = value
            else:
                numbers.setdefault(str(i), {})[name] = value
    facts = {"step": state.step, "seconds": state.seconds, "settings": state.settings}
    facts["optimizer"] = {"numbers": numbers, "groups": [_plain(group) for group in state.optimizer["param_groups"]]}
    with whole_file(path) as partial:
        metadata = {"kind": KIND, "state": json.dumps(facts)}
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, partial, metadata=metadata)


def _plain(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value.item() if isinstance(value, Tensor) else value for key, value in group.items()}


def read_state(path: Path) -> State:
    """Read a state. Raises `ConfigError` naming a file that is none."""
    try:
        with safe_open(path, "pt") as file:
            facts = _facts(path, file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} is not a whole state of a training run ({error}); begin anew with --fresh.") from error
    entries = {int(i): dict(numbers) for i, numbers in facts["optimizer"]["numbers"].items()}
    parameters: dict[int, Tensor] = {}
    for key, tensor in tensors.items():
        kind, number, *name = key.split(".", 2)
        if kind == "parameter":
            parameters[int(number)] = tensor
        else:
            entries.setdefault(int(number), {})[name[0]] = tensor
    optimizer = {"state": entries, "param_groups": facts["optimizer"]["groups"]}
    return State(facts["step"], facts["seconds"], [t for _, t in sorted(parameters.items())], optimizer, facts["settings"])


def _facts(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    if metadata.get("kind") != KIND:
        raise ValueError("it is of another kind or version")
    return json.loads(metadata["state"])
