# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of renders, against a real engine: results, stopping, mistakes, an engine that dies."""

from __future__ import annotations

import numpy as np
import pytest

from blender_addon.render_job import RenderStopped, run
from blender_addon.wire import EngineSilent, JobFailed
from tests.engine.conftest import client, launch, models, picture, shared, submit, wait_for  # noqa: F401 (fixtures)

SLOW = {"steps": 10_000, "seconds_per_step": 0.02}


def never() -> bool:
    """Nobody stops the render."""
    return False


def states(each) -> dict[str, str]:
    """The state of each job that the engine holds for a client."""
    return {job.job_id: job.state for job in each.jobs()}


def test_a_job_gives_its_result_tells_its_steps_and_is_forgotten(client):  # noqa: F811
    told = []
    result = run(client, submit("one", steps=4), stopped=never, on_progress=told.append)
    assert np.array_equal(result.outputs["image"].data, picture().data)
    assert [each.step for each in told if each.total][-1] == 4
    wait_for(lambda: "one" not in states(client))


def test_a_stopped_render_cancels_its_job_at_once(client):  # noqa: F811
    told = []
    with pytest.raises(RenderStopped):
        run(client, submit("stop", **SLOW), stopped=lambda: len(told) > 2, on_progress=told.append)
    assert len(told) < 100, "of ten thousand steps"
    wait_for(lambda: states(client).get("stop") != "running")
    assert run(client, submit("next"), stopped=never, on_progress=told.append).job_id == "next"


def test_an_interruption_while_the_job_is_sent_cancels_it_too(client, monkeypatch):  # noqa: F811
    sent = client.submit

    def interrupted(job) -> None:
        """The engine has it already."""
        sent(job)
        wait_for(lambda: states(client).get("sent") == "running")
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(client, submit("sent", **SLOW), stopped=never, on_progress=lambda progress: None)
    wait_for(lambda: states(client).get("sent") != "running")


def test_a_job_that_takes_too_long_is_one_sentence(client):  # noqa: F811
    with pytest.raises(JobFailed, match="within 1 s") as caught:
        run(client, submit("long", **SLOW), stopped=never, on_progress=lambda progress: None, timeout=1.0)
    assert caught.value.code == "timeout"
    wait_for(lambda: states(client).get("long") != "running")


def test_a_job_that_cannot_be_is_the_engine_s_sentence(client):  # noqa: F811
    with pytest.raises(JobFailed, match="giant"):
        run(client, submit("bad", "decompose", model="giant"), stopped=never, on_progress=lambda progress: None)
    with pytest.raises(JobFailed, match="The task decompose makes"):
        run(client, submit("odd", "decompose", ("height",)), stopped=never, on_progress=lambda progress: None)


def test_an_engine_that_dies_ends_the_wait(launch):  # noqa: F811
    engine = launch()
    with engine.client(timeout=1.0) as each, pytest.raises(EngineSilent, match=engine.address.rpartition(":")[2]):
        run(each, submit("lost", **SLOW), stopped=never, on_progress=lambda progress: engine.process.kill())
