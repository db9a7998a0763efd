# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong while an environment is made."""

from __future__ import annotations


class SetupError(Exception):
    """The environment cannot be made; the text is one sentence with the fix."""


class SetupCancelled(Exception):
    """The user has ended it; what was made so far is kept for the next time."""
