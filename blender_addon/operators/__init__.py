# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators: one file for each task, one for the engine, one for jobs."""

from __future__ import annotations

from ..presets import OPERATORS as PRESETS
from . import candidates, decompose, engine, history, inpaint, job, material, neural_render, set_up, synthesize

TASKS = (material, decompose, neural_render, synthesize, inpaint)
CLASSES = (
    *(each for module in (*TASKS, candidates, engine, set_up, job, history) for each in module.CLASSES),
    *PRESETS,
)
