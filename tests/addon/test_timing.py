# SPDX-License-Identifier: GPL-3.0-or-later
"""The expected seconds of a job."""

from __future__ import annotations

import pytest

from blender_addon.timing import Timings, Work, within


def seconds(work: Work) -> float:
    """A machine whose law is known."""
    return 0.5 + 2.0 * work.network + 0.25 * work.results


def test_without_a_job_before_it_nothing_is_claimed(tmp_path):
    assert Timings(tmp_path).expected("cpu nano material", Work(1.0, 1.0)) is None


def test_the_law_of_a_machine_is_found_from_different_jobs(tmp_path):
    timings = Timings(tmp_path)
    for work in (Work(1.0, 1.0), Work(4.0, 2.0), Work(2.0, 8.0), Work(8.0, 3.0)):
        timings.note("cpu nano material", work, seconds(work))
    again = Timings(tmp_path)
    assert again.expected("cpu nano material", Work(6.0, 5.0)) == pytest.approx(seconds(Work(6.0, 5.0)))
    assert again.expected("cuda nano material", Work(6.0, 5.0)) is None


def test_after_one_job_the_seconds_grow_with_the_work(tmp_path):
    timings = Timings(tmp_path)
    timings.note("key", Work(2.0, 2.0), 10.0)
    assert timings.expected("key", Work(2.0, 2.0)) == pytest.approx(10.0)
    assert timings.expected("key", Work(4.0, 4.0)) == pytest.approx(20.0)
    assert timings.expected("key", Work(1.0, 2.0)) < 10.0, "fewer channels are faster"


def test_a_broken_file_is_as_none(tmp_path):
    for text in ("{", "[]", '{"a": 1}', '{"a": [["x", 1, 2]]}'):
        (tmp_path / "timings.json").write_text(text)
        assert Timings(tmp_path).expected("a", Work(1.0, 1.0)) is None
    Timings(tmp_path).note("a", Work(1.0, 1.0), 1.0)
    assert Timings(tmp_path).expected("a", Work(1.0, 1.0))


def test_sizes():
    assert within((4000, 2000), 1000) == (1000, 500) and within((10, 20), 100) == (10, 20)
    assert Work.of(5, 0, (1000, 1000), 4, (2000, 1000)) == Work(5.0, 8.0)
