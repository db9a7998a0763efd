# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured of maps, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Measured:
    """`measures[map][answer][measure]`: of each sample where it says something; `cases` are the samples as JSON has them."""

    cases: list[dict[str, Any]] = field(default_factory=list)
    measures: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)

    def add(self, name: str, answer: str, own: dict[str, float]) -> None:
        """One sample's measures of a map."""
        kept = self.measures.setdefault(name, {}).setdefault(answer, {})
        for measure, value in own.items():
            kept.setdefault(measure, []).append(value)

    def values(self, name: str, answer: str, measure: str) -> list[float]:
        """A measure of all samples; empty where none said anything."""
        return self.measures[name].get(answer, {}).get(measure, [])
