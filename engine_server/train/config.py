# SPDX-License-Identifier: GPL-3.0-or-later
"""A training run's configuration: one TOML file read into frozen dataclasses, every key checked."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class ConfigError(ValueError):
    """A key of a training configuration is missing, unknown, or of the wrong type; the message names it."""


@dataclass(frozen=True)
class DataSet:
    """One folder of samples.

    `folder` holds `<sample>/<channel>.png`. `rename` maps file stems to channels (``{"flash": "image"}``), `weight`
    is how often the set is drawn relative to the others, `given` and `wanted` are the channels that this set offers as
    inputs and as outputs (empty: all that a sample has); `limit` takes only so many samples (0: all).
    """

    folder: str
    rename: dict[str, str] = field(default_factory=dict)
    weight: float = 1.0
    given: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    limit: int = 0


@dataclass(frozen=True)
class TrainConfig:
    """What to train, on what, for how long. `stage` is "vae", "base" or "team".

    Training ends after `steps` optimiser steps or `minutes` of wall clock (0: no limit), whichever comes first, and the
    learning rate falls to zero over the same span. `crop` is in pixels; `batch` counts images per forward pass, of which
    `accumulate` make one optimiser step. `network` holds the diffusers configuration of the network that the stage
    trains; for a team it holds the teammates, the rank and so on. `precision` "bfloat16" computes in mixed precision: the
    parameters stay float32.
    """

    stage: str
    output: str
    data: tuple[DataSet, ...]
    network: dict[str, Any]
    base: str = ""
    resume: bool = True
    seed: int = 0
    steps: int = 10_000
    minutes: float = 0.0
    batch: int = 8
    accumulate: int = 1
    crop: int = 128
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: int = 100
    clip: float = 1.0
    save_every: int = 500
    threads: int = 0
    precision: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)


def load_config(path: Path, **overrides: Any) -> TrainConfig:
    """Read `path` (TOML) into a `TrainConfig`; `overrides` that are not None replace keys.

    Raises `ConfigError` with the offending key, or with the line of the TOML error.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The training configuration {path} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The training configuration {path} is not TOML: {error}.") from error
    values |= {key: value for key, value in overrides.items() if value is not None}
    values["data"] = tuple(_build(DataSet, entry, "data") for entry in values.get("data", ()))
    config = _build(TrainConfig, values, str(path))
    return _checked(config)


def _build(kind: type, values: dict[str, Any], where: str) -> Any:
    known = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; the known ones are {', '.join(known)}.")
    missing = [n for n, f in known.items() if n not in values and f.default is f.default_factory is dataclasses.MISSING]
    if missing:
        raise ConfigError(f"{where}: the key {missing[0]!r} is missing.")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _checked(config: TrainConfig) -> TrainConfig:
    if config.stage not in ("vae", "base", "team"):
        raise ConfigError(f"stage is {config.stage!r}; expected vae, base or team.")
    if config.precision not in ("float32", "bfloat16"):
        raise ConfigError(f"precision is {config.precision!r}; expected float32 or bfloat16.")
    for name in ("steps", "batch", "accumulate", "crop", "save_every"):
        if not isinstance(getattr(config, name), int) or getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)!r}; expected a whole number of at least 1.")
    if not config.data:
        raise ConfigError("No data: add at least one [[data]] table with a folder.")
    return config
