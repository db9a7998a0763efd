# SPDX-License-Identifier: GPL-3.0-or-later
"""The error of a job that is its user's to mend, and any error in one line."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


class TaskError(ValueError):
    """A job cannot be done as asked: `code` for programs, `sentence` for people (what is wrong, what was expected)."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence
