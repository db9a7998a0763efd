# SPDX-License-Identifier: GPL-3.0-or-later
"""What has its time: results that nobody fetches, and previews."""

from __future__ import annotations

import time

import pytest

from blender_addon.wire import Failed, Result
from engine_server.pace import KINDS_KEPT, PREVIEW_SHARE, Labour, PreviewBudget, kind_of

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
    budget.begin(now, "kind")
    budget.made(0.0, cost)
    budget.begin(now, "kind")
    for left in range(199, -1, -1):
        now += step
        if budget.allows(now, left * step):
            budget.made(now, now + cost)
            now, spent, made = now + cost, spent + cost, made + 1
    assert made > 0 and spent <= PREVIEW_SHARE * now


def affordable(cost: float) -> int:
    """The step, of a tenth of a second each, after which previews have their share for one of so many seconds."""
    return round(10 * cost / PREVIEW_SHARE)


def first_after(budget: PreviewBudget, kind: str) -> float:
    """The step, of a tenth of a second each, after which a job of an hour has its first preview; it is not made."""
    budget.begin(0.0, kind)
    return next(step for step in range(1, 36_000) if budget.allows(step / 10, 3600.0 - step / 10))


def test_a_dear_preview_is_no_measure_for_others():
    """Neither for those of another kind of job nor, where it was the first in its process, for those of its own."""
    budget = PreviewBudget()
    assert first_after(budget, "large") == 1
    budget.made(1.0, 9.0)
    assert first_after(budget, "small") == 1 and first_after(budget, "large") == affordable(8.0)
    budget.made(400.0, 400.25)
    assert first_after(budget, "large") == affordable(0.25)
    budget.made(6.0, 14.0)
    assert first_after(budget, "large") == affordable(0.25)


def test_kinds_of_jobs_are_told_apart_and_forgotten_in_the_end():
    small, large = submit("a", "material"), submit("b", "material", width=512)
    assert kind_of(small) == kind_of(submit("c", "material", seed=4)) != kind_of(large)
    budget = PreviewBudget()
    for kind in range(2 * KINDS_KEPT):
        budget.begin(0.0, kind)
        budget.made(0.0, 1.0)
    assert first_after(budget, 0) == 1 and first_after(budget, 2 * KINDS_KEPT - 1) == affordable(1.0)


def test_what_is_told_of_a_step_is_no_computing():
    labour, told = Labour(), []

    def step(*words) -> None:
        told.append(words)
        time.sleep(0.3)

    def work(on_step) -> str:
        for number in (1, 2):
            time.sleep(0.05)
            on_step(number, 2, None)
        return "made"

    began = time.monotonic()
    assert labour.of(work, step) == "made" and told == [(1, 2, None), (2, 2, None)]
    assert 0.1 <= labour.seconds <= time.monotonic() - began - 0.6 + 1e-3


def test_computing_that_is_broken_off_counts_too():
    labour = Labour()
    with pytest.raises(KeyError):
        labour.of(lambda on_step: (time.sleep(0.05), on_step()), lambda: {}["stopped"])
    assert labour.seconds >= 0.05
