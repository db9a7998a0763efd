# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender quits in the middle of a job."""

from __future__ import annotations

from .jobs import slow_down
from .panels import start_engine
from .stage import Stage, Waits


def play(stage: Stage) -> Waits:
    """A job is on its way when the window closes: what comes of Blender and its engine is seen from outside."""
    yield from start_engine(stage)
    jobs = stage.part("jobs")
    slow_down(stage)
    yield from stage.edit("VIEW_3D")
    before = len(jobs.JOBS)
    yield from stage.click("teamwork.material_from_image")
    yield from stage.until(lambda: len(jobs.JOBS) > before and jobs.JOBS[-1].factor > 0.0, 60.0)
    stage.check("a job runs while Blender quits", len(jobs.running()) == 1, jobs.JOBS[-1].line if jobs.JOBS else "")
