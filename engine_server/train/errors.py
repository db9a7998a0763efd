# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong in a training run, as sentences."""

from __future__ import annotations


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
