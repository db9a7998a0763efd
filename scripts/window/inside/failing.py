# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine dies in the middle of a job."""

from __future__ import annotations

from .jobs import slow_down, speed_up
from .panels import start_engine
from .stage import Stage, Waits


def play(stage: Stage) -> Waits:
    """The job ends with a sentence, and the panel offers to try again, which works."""
    yield from start_engine(stage)
    jobs, link = stage.part("jobs"), stage.part("engine").LINK
    chosen = slow_down(stage)
    yield from stage.edit("VIEW_3D")
    before = len(jobs.JOBS)
    yield from stage.click("teamwork.material_from_image")
    yield from stage.until(lambda: len(jobs.JOBS) > before and jobs.JOBS[-1].factor > 0.0, 60.0)
    job = jobs.JOBS[-1]
    link.started.process.kill()
    yield from stage.until(lambda: job.state != jobs.RUNNING, 60.0)
    stage.check("a job whose engine dies has failed, with a sentence", job.state == jobs.FAILED and job.line.endswith("."), job.line)
    yield from stage.shot("failed")
    yield from stage.click("teamwork.connect")
    yield from stage.until(lambda: link.welcome, 90.0)
    stage.check("the engine can be started again", link.welcome is not None, link.state())
    speed_up(chosen)
    yield from stage.shot("back_again")
