# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that need no network: a team that does not beat them has learnt nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..teamwork.adapters import own_adapter, team_folder
from .errors import DataError

MEANS_FILE, SCENE_MEANS_FILE = "naive_means.json", "naive_means_scenes.json"
TRAINING_MEAN, PHOTO_ITSELF, FLAT, ZERO = "training mean", "photo itself", "flat", "all zero"
PLAIN_DIFFUSE = "plain diffuse"
ANSWERS = (TRAINING_MEAN, PHOTO_ITSELF, FLAT, ZERO, PLAIN_DIFFUSE)


def folder_of(team: str, adapter: str | Path | None = None) -> Path:
    """Where a team lies, whose base and adapter are so called: the folder of a team, else that of the adapter's file.

    Raises `TeamError` for an adapter's bare name that the team and the working folder both have.
    """
    folder = team_folder(team)
    if folder and (adapter is None or own_adapter(folder, adapter)):
        return folder
    return Path(adapter).parent if adapter else Path(team)


def read_means(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    """({map: its mean over the training set, one or three values 0..1}, a note where they are not known).

    The file is what `engine_server.train.bundle` writes: {"albedo": [r, g, b], "roughness": x, ...}. Raises DataError
    when there is one that is not that.
    """
    if not path.is_file():
        return {}, f"no {path.name} in {path.parent.name or path.parent}: the training means are not known, and left out"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {name: _mean(name, value) for name, value in stored.items()}, None
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f'{path} is unusable ({error}); expected {{"albedo": [r, g, b], "roughness": x, "metalness": x}} in 0..1.'
        ) from error


def _mean(name: str, value: float | list[float]) -> np.ndarray:
    mean = np.asarray(value, np.float32)
    if mean.size not in (1, 3) or not np.all((mean >= 0.0) & (mean <= 1.0)):
        raise ValueError(f"{name} is {value}")
    return mean


def naive_answers(name: str, photo: np.ndarray, means: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """{which answer: H x W x 3} for one map of one photo; a map without a mean has no such answer."""
    if name == "normals":
        return {FLAT: _constant(photo, (0.5, 0.5, 1.0))}
    answers = {TRAINING_MEAN: _constant(photo, means[name])} if name in means else {}
    if name == "albedo":
        answers[PHOTO_ITSELF] = photo
    if name == "metalness":
        answers[ZERO] = _constant(photo, 0.0)
    return answers


def _constant(like: np.ndarray, value) -> np.ndarray:
    return np.broadcast_to(np.asarray(value, np.float32), like.shape)
