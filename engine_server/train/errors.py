# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong in a training run, as sentences."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from ..evaluate.errors import DataError
from ..teamwork.config import TeamError


class TrainError(ValueError):
    """A run cannot begin or go on; the message is one sentence that says what to mend.

    TrainError
    ├── ConfigError   a key of the configuration, or the data, is not as expected
    └── SaveError     what was trained cannot be written
    """


class ConfigError(TrainError):
    """A key of a training configuration is missing, unknown or of the wrong type, or its data do not fit; the message names it."""


class SaveError(TrainError):
    """A file cannot be written; the message names it, and what is still there."""


def in_a_sentence(work: Callable[[], object]) -> int:
    """Do what a command shall do; 0 when it is done, 2 after a sentence on the error stream that says what to mend."""
    try:
        work()
    except (TrainError, TeamError, DataError) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or 'A file'} cannot be used ({error.strerror or error}): name another, or make room.", file=sys.stderr)
    else:
        return 0
    return 2


def require_folder(folder: Path, what: str) -> None:
    """Raise `ConfigError` where there is no such folder; `what` says what it is for."""
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder}; {what}.")


def check_numbers(args: Namespace, **least: int) -> None:
    """Raises `ConfigError` for an option of a command whose number is below its least."""
    for name, expected in least.items():
        if (value := getattr(args, name)) < expected:
            raise ConfigError(f"--{name} is {value}; expected {expected} or more.")
