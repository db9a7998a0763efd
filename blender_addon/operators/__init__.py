# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators: one file for each task, one for the engine, one for jobs."""

from __future__ import annotations

from . import decompose, engine, job, material, neural_render, set_up

CLASSES = (*material.CLASSES, *decompose.CLASSES, *neural_render.CLASSES, *engine.CLASSES, *set_up.CLASSES, *job.CLASSES)
