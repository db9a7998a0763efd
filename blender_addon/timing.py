# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a job will take, judged by those before it. Kept in the home folder for each engine device and model. No bpy."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .wire import CredentialsError, ModelInfo, home_folder
from .wire.home import private_folder, write_private

FILE = "timings.json"
MOST = 24
MEGAPIXEL = 1e6
LARGEST_RESULT = 4096
DERIVED = {"height": "normals", "residual": "albedo"}
"""Channels that are made from another one, without a teammate of their own."""
ALL = {
    "material": ("albedo", "roughness", "metalness", "normals", "height"),
    "decompose": ("albedo", "diffuseshading", "residual", "normals", "depth", "roughness", "metalness"),
}
MADE = {
    True: ALL["material"],
    False: ("image", "albedo", "roughness", "metalness", "normals", "depth", "diffuseshading"),
}
"""What is synthesized, by whether it is a surface, as far as the model can."""
RESULTS = 0.1
"""What a megapixel of results is taken to cost, beside one of a teammate's view in a step, as long as nothing tells: on a processor,
where a picture is large and the network small, it is a thirtieth."""
IN_PIECES = 4
"""A picture that tiles is seen in so many pieces."""
LOOKS = {"shade": 8}
"""How many native sizes the network sees by default."""


@dataclass(frozen=True)
class Work:
    """What a job costs: teammates (pictures that the network sees at once) times steps times megapixels of its view;
    and megapixels of results."""

    network: float
    results: float

    @staticmethod
    def of(teammates: int, steps: int, working: tuple[int, int], outputs: int, result: tuple[int, int]) -> Work:
        """From sizes in pixels (width, height)."""
        seen, made = working[0] * working[1] / MEGAPIXEL, result[0] * result[1] / MEGAPIXEL
        return Work(teammates * max(steps, 1) * seen, outputs * made)


def work_of(
    task: str, inputs: int, outputs: Sequence[str], options: Mapping[str, int], size: tuple[int, int], model: ModelInfo
) -> Work:
    """The work of a job on pictures of `size` (width, height), as far as it can be told from outside the engine."""
    made = outputs or ALL.get(task, ("image",))
    asked = {DERIVED.get(name, name) for name in made}
    side = options.get("size") or LOOKS.get(task, 1) * model.native_size
    steps = options.get("steps") or model.default_steps
    steps *= (IN_PIECES if options.get("seamless") else 1) * max(1, options.get("repeats") or 1)
    return Work.of(inputs + len(asked), steps, within(size, side), len(made), within(size, LARGEST_RESULT))


def synthesized(surface: bool, model: ModelInfo) -> tuple[str, ...]:
    """The channels that a model makes of its own; albedo and metalness also by way of diffuse and specular."""
    gives = {name.removesuffix(".out") for name in model.teammates if name.endswith(".out")}
    gives |= {"albedo", "metalness"} if {"diffuse", "specular"} <= gives else set()
    return tuple(name for name in MADE[surface] if DERIVED.get(name, name) in gives)


def within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """A picture's size when its longest side is at most `side`, proportions kept."""
    scale = min(1.0, side / max(*size, 1))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


class Timings:
    """Seconds of past jobs by key ("cpu nano material"); `expected` judges a new one by them."""

    def __init__(self, home: Path | str | None = None) -> None:
        self._path = home_folder(home) / FILE
        self._known = _read(self._path)

    def note(self, key: str, work: Work, seconds: float) -> None:
        """A job has taken so long, loading of its model not counted."""
        self._known[key] = [*self._known.get(key, []), [work.network, work.results, seconds]][-MOST:]
        with contextlib.suppress(OSError, CredentialsError):
            private_folder(self._path.parent, 0o022)
            write_private(self._path, json.dumps(self._known) + "\n")

    def forget(self) -> None:
        """All of them, until more are noted."""
        self._known.clear()

    def expected(self, key: str, work: Work) -> float | None:
        """Seconds; None if there was no such job yet."""
        known = self._known.get(key)
        if not known:
            return None
        table = np.array(known, np.float64)
        return max(0.05, float(np.array([1.0, work.network, work.results]) @ _fit(table)))


def _read(path: Path) -> dict[str, list[list[float]]]:
    try:
        known = json.loads(path.read_text("utf-8"))
        return {str(key): [[float(x) for x in row] for row in rows if len(row) == 3] for key, rows in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _fit(table: np.ndarray) -> np.ndarray:
    """Seconds at rest, per network work and per result: the non-negative line through past jobs. With few of them, or all
    alike, the seconds are taken to grow with the work as a whole, of which results are the lighter part."""
    work, seconds = table[:, :2], table[:, 2]
    columns = np.column_stack([np.ones(len(table)), work])
    weights = 1.0 / np.maximum(seconds, 0.05)
    if np.linalg.matrix_rank(columns) == 3:
        solution = np.linalg.lstsq(columns * weights[:, None], seconds * weights, rcond=None)[0]
        if (solution >= 0.0).all():
            return solution
    shares = np.array([1.0, RESULTS])
    return np.array([0.0, *shares]) * float(np.median(seconds / np.maximum(work @ shares, 1e-9)))
