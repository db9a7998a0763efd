# SPDX-License-Identifier: GPL-3.0-or-later
"""What has its time: results that nobody fetches, and previews."""

from __future__ import annotations

import pytest

from blender_addon.wire import Failed, Result
from engine_server.worker import PREVIEW_SHARE, PreviewBudget

from .conftest import end_of, submit, wait_for


def test_a_result_that_nobody_fetches_has_its_time(launch):
    with launch("--keep", "0.0002").client() as client:
        client.submit(submit("forgotten"))
        assert isinstance(end_of(client, "forgotten"), Result)
        wait_for(lambda: client.status().kept == 0)
        client.fetch("forgotten")
        end = end_of(client, "forgotten")
        assert isinstance(end, Failed) and end.code == "result-gone" and "its time was up" in end.sentence


@pytest.mark.parametrize(("step", "cost"), [(0.1, 0.3), (2.0, 0.05), (0.6, 2.0)])
def test_previews_keep_to_their_share_of_the_time(step, cost):
    """Two hundred steps of some seconds each, with a preview whenever there may be one; a first job has told what one costs."""
    budget, now, spent, made = PreviewBudget(), 0.0, 0.0, 0
    budget.made(0.0, cost)
    budget.begin(now)
    for left in range(199, -1, -1):
        now += step
        if budget.allows(now, left * step):
            budget.made(now, now + cost)
            now, spent, made = now + cost, spent + cost, made + 1
    assert made > 0 and spent <= PREVIEW_SHARE * now
