# SPDX-License-Identifier: GPL-3.0-or-later
"""The error of a job that is its user's to mend."""

from __future__ import annotations


class TaskError(ValueError):
    """A job cannot be done as asked: `code` for programs, `sentence` for people (what is wrong, what was expected)."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence
