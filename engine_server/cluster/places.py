# SPDX-License-Identifier: GPL-3.0-or-later
"""How many workers a cluster has room for. Pure counting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """One computer of a cluster, by what it offers there."""

    cpus: int
    gpus: int


def places_of(nodes: Sequence[Node], device: str, workers: int) -> list[str]:
    """The devices for the workers: one for each GPU; where there is none, or the device is "cpu", one for each computer.

    With `workers` it is so many, on GPUs at most as many as there are. It is one at least, perhaps out of reach: with a
    worker that waits for room there is somebody to say so.
    """
    gpus = sum(node.gpus for node in nodes)
    if device == "cuda" or (gpus and not device):
        return ["cuda"] * max(1, min(workers or gpus, gpus))
    return ["cpu"] * max(1, (workers or len(_with_cpus(nodes))) if _with_cpus(nodes) else 1)


def cpus_each(nodes: Sequence[Node], workers: int) -> float:
    """How many CPUs each of the workers on CPUs may ask for, so that there is room for all of them: whole ones, or, where there are
    more workers than CPUs, a part of one."""
    nodes = _with_cpus(nodes)
    if not nodes:
        return 1
    on_each = -(-(workers or len(nodes)) // len(nodes))
    fewest = min(node.cpus for node in nodes)
    return fewest // on_each or math.floor(1000 * fewest / on_each) / 1000


def _with_cpus(nodes: Sequence[Node]) -> list[Node]:
    """Those that take part: a computer that carries the engine only is started with no CPUs for Ray."""
    return [node for node in nodes if node.cpus]
