# SPDX-License-Identifier: GPL-3.0-or-later
"""A training run's configuration: one TOML file read into frozen dataclasses, every key and its type checked."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ConfigError


@dataclass(frozen=True)
class DataSet:
    """One folder of samples.

    `folder` holds `<sample>/<channel>.png`. `rename` maps file stems to channels (``{"flash": "image"}``), `weight`
    is how often the set is drawn relative to the others, `given` and `wanted` are the channels that this set offers as
    inputs and as outputs (empty: all that a sample has); `limit` takes only so many samples (0: all). `mask` is the stem
    of the picture that weighs a sample's pixels in the loss, where it has one; `side` reduces larger pictures to this
    shorter side, in pixels (0: as they are). `unconditional` is the share of batches in which nothing is given, which is what
    synthesis starts from. `mirror` is for packed samples (see `packed`): half of them are mirrored left to right.
    """

    folder: str
    rename: dict[str, str] = field(default_factory=dict)
    weight: float = 1.0
    given: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    limit: int = 0
    mask: str = ""
    side: int = 0
    unconditional: float = 0.0
    mirror: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """What to train, on what, for how long. `stage` is "vae", "base", "estimate" (a base that reads pictures),
    "team" or "joint" (a base together with its teams); the defaults are the published recipe of
    a team (arXiv 2510.05532).

    Training ends after `steps` optimiser steps or `minutes` of wall clock (0: no limit), whichever comes first, and the
    learning rate falls to zero over the same span. `crop` is in pixels; `batch` counts images per forward pass and
    process, of which `accumulate` make one optimiser step. `network` holds the diffusers configuration of the network that
    the stage trains; for a team it holds the teammates, the rank and so on. `precision` "bfloat16" computes in mixed
    precision: the parameters that train stay float32; `weights` is the precision of a team's frozen base (empty: the same).
    With `compile` PyTorch compiles the network first, once for each size of crop: minutes, and then faster steps.
    """

    stage: str
    output: str
    data: tuple[DataSet, ...] = ()
    network: dict[str, Any] = field(default_factory=dict)
    base: str = ""
    validation: tuple[DataSet, ...] = ()
    resume: bool = True
    seed: int = 0
    steps: int = 4000
    minutes: float = 0.0
    batch: int = 1
    accumulate: int = 16
    crop: int = 512
    optimizer: str = "prodigy"
    learning_rate: float = 1.0
    schedule: str = "cosine"
    warmup: int = 0
    weight_decay: float = 1e-4
    clip: float = 1.0
    save_every: int = 500
    samples: int = 4
    sample_steps: int = 20
    tensorboard: bool = True
    device: str = "auto"
    threads: int = 0
    precision: str = "bfloat16"
    weights: str = ""
    checkpointing: bool = False
    compile: bool = False
    options: dict[str, Any] = field(default_factory=dict)


ONE_OF = {
    "stage": ("vae", "base", "estimate", "unison", "team", "joint"),
    "optimizer": ("prodigy", "adamw"),
    "schedule": ("cosine", "constant"),
    "precision": ("float32", "bfloat16"),
    "weights": ("", "float32", "bfloat16"),
}
"""The values that some keys can have."""


PICTURES_ONLY = tuple(f.name for f in dataclasses.fields(DataSet) if f.name not in ("folder", "weight", "limit"))
IGNORED = {
    "vae": ("base", "weights", "checkpointing", "validation"),
    "base": ("weights", "checkpointing", "validation"),
    "estimate": ("weights", "checkpointing", "validation"),
    "unison": ("weights", "checkpointing", "validation"),
    "joint": ("batch", "crop", "sample_steps", "weights", "checkpointing", "compile", "data", "validation"),
}
"""What each stage does nothing with. The teams of a joint run have batches and crops of their own."""
IGNORED_OF_DATA = {
    "vae": PICTURES_ONLY,
    "base": PICTURES_ONLY,
    "estimate": ("unconditional",),
    "unison": ("given", "wanted", "unconditional"),
}
"""The same of its data sets. `limit` stands in the autoencoder's published recipe, so it is let pass."""


def load_config(path: Path, **overrides: Any) -> TrainConfig:
    """Read `path` (TOML) into a `TrainConfig`; `overrides` that are not None replace keys.

    Raises `ConfigError` with the offending key, or with the line of the TOML error.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"The training configuration {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"The training configuration {path} is not TOML: {error}.") from error
    values |= {key: value for key, value in overrides.items() if value is not None}
    for key in ("data", "validation"):
        values[key] = tuple(build(DataSet, entry, f"[[{key}]]") for entry in _tables(values, key))
    return checked(build(TrainConfig, values, str(path)))


def _tables(values: dict[str, Any], key: str) -> list[dict[str, Any]]:
    tables = values.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{key} is not a list of tables; write [[{key}]] above each data set.")
    return tables


def build(kind: type, values: dict[str, Any], where: str) -> Any:
    """A dataclass from a TOML table; `where` begins the sentence of the `ConfigError` about a wrong key or type."""
    known = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; the known ones are {', '.join(known)}.")
    missing = [n for n, f in known.items() if n not in values and f.default is f.default_factory is dataclasses.MISSING]
    if missing:
        raise ConfigError(f"{where}: the key {missing[0]!r} is missing.")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _typed(name, value, hints[name], where) for name, value in values.items()})


NAMES = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false", dict: "a table", tuple: "a list"}


def _typed(name: str, value: Any, hint: Any, where: str) -> Any:
    """The value as its annotation says, lists as tuples; raises `ConfigError` for one of another type."""
    kind = typing.get_origin(hint) or hint
    value = _tuples(value)
    if kind is typing.Any or kind is types.UnionType:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{where}: {name} is {value!r}; expected {NAMES.get(kind, kind.__name__)}.")
    inner = typing.get_args(hint)
    if kind is tuple and inner:
        return tuple(_typed(name, entry, inner[0], where) for entry in value)
    if kind is dict and inner:
        return {key: _typed(f"{name}.{key}", entry, inner[1], where) for key, entry in value.items()}
    return value


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def checked(config: TrainConfig) -> TrainConfig:
    """The same configuration. Raises `ConfigError` for a value that cannot be."""
    for name, values in ONE_OF.items():
        if (value := getattr(config, name)) not in values:
            raise ConfigError(f"{name} is {value!r}; expected {' or '.join(v for v in values if v)}.")
    for name in ("steps", "batch", "accumulate", "crop", "save_every", "sample_steps"):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)!r}; expected a whole number of at least 1.")
    for name in ("minutes", "warmup", "weight_decay", "samples", "threads", "seed"):
        if getattr(config, name) < 0:
            raise ConfigError(f"{name} is {getattr(config, name)!r}; expected 0 or more.")
    for name in ("learning_rate", "clip"):
        if not getattr(config, name) > 0:
            raise ConfigError(f"{name} is {getattr(config, name)!r}; expected a number above 0.")
    if config.precision == "float32" and config.weights == "bfloat16":
        raise ConfigError('weights are "bfloat16" but precision is "float32"; a coarser base needs precision = "bfloat16".')
    if config.compile and config.stage == "vae":
        raise ConfigError("compile is for the network of a base, and the stage vae trains an autoencoder; leave it out.")
    _check_effect(config)
    return _checked_data(config)


def _check_effect(config: TrainConfig) -> None:
    """Raises `ConfigError` for an option that is set and does nothing: whoever sets it expects something of it."""
    for name in _set_otherwise(config, IGNORED.get(config.stage, ())):
        title = f"[[{name}]]" if name in ("data", "validation") else name
        raise ConfigError(f"{title} does nothing in the stage {config.stage}; leave it out.")
    for data in config.data:
        for name in _set_otherwise(data, IGNORED_OF_DATA.get(config.stage, ())):
            raise ConfigError(f"The data set {data.folder}: {name} does nothing in the stage {config.stage}; leave it out.")


def _set_otherwise(config: TrainConfig | DataSet, names: tuple[str, ...]) -> list[str]:
    """Those of the names that have another value than if they were not set."""
    kinds = {f.name: f for f in dataclasses.fields(config)}
    usual = {n: kinds[n].default_factory() if kinds[n].default is dataclasses.MISSING else kinds[n].default for n in names}
    return [name for name, value in usual.items() if getattr(config, name) != value]


def _checked_data(config: TrainConfig) -> TrainConfig:
    if not config.data and config.stage != "joint":
        raise ConfigError("No data: add at least one [[data]] table with a folder.")
    for data in (*config.data, *config.validation):
        if data.weight < 0 or data.limit < 0 or data.side < 0:
            raise ConfigError(f"The data set {data.folder} has a weight, limit or side below 0.")
        if not 0 <= data.unconditional <= 1:
            raise ConfigError(f"The data set {data.folder} has unconditional = {data.unconditional}; expected 0 to 1.")
    if config.data and not any(data.weight for data in config.data):
        raise ConfigError("All data sets have the weight 0, so none would ever be drawn; give one a weight above 0.")
    return config
