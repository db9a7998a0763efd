# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process that fetches a model may say: whatever it is, it becomes news of the job, and the server goes on."""

from __future__ import annotations

import json
import types

import pytest

from blender_addon.wire import Failed, Progress, Result
from engine_server import downloads
from engine_server.queue import Job


@pytest.fixture
def place(monkeypatch):
    """`place(*lines)`: the news of a job whose process says these, a pair being seconds to wait and a line."""
    news, now = [], [100.0]
    monkeypatch.setattr(downloads, "time", types.SimpleNamespace(monotonic=lambda: now[0]))

    def said(*lines) -> list:
        desk = downloads.Downloads(lambda job, message, frames: news.append(message), lambda: None, False)
        desk.job = job = Job("o", "j", "get-model", b"r", [], 0, b"", model="flux1-dev")
        for line in lines:
            wait, text = line if isinstance(line, tuple) else (0, line)
            now[0] += wait
            desk._lines.put((job, text))
            desk.check()
        return news

    return said


def bytes_of(done: object, total: object = 33_700_000_000) -> str:
    """A report."""
    return json.dumps({"done": done, "total": total})


def test_a_stalled_download_has_no_time_left_to_tell(place):
    news = place(bytes_of(0), (20, bytes_of(536)), (20, bytes_of(10_000_000_000)), bytes_of(33_700_000_001))
    assert [type(each) for each in news] == [Progress] * 4
    assert [each.seconds_left is None for each in news] == [True, True, False, True]
    assert news[2].seconds_left == pytest.approx(40 * 2.37, rel=1e-3)


@pytest.mark.parametrize(
    "line",
    [
        *("Fetching 3 files:  10%", "", "[]", "3", "[" * 100_000, "{}", bytes_of("many"), bytes_of(None), bytes_of(-5_000_000)),
        *('{"fetched": {}}', '{"code": "no name", "sentence": "x"}', '{"sentence": "x"}', '{"code": "offline", "sentence": 3}'),
        *('{"done": NaN, "total": 1}', '{"done": 1e999, "total": 1}'),
    ],
)
def test_a_line_that_is_no_report_is_a_failed_download(place, line):
    (failed,) = place(line)
    assert isinstance(failed, Failed) and failed.code == "download-failed" and failed.sentence.endswith("what was fetched is kept.")


def test_a_sentence_that_cannot_be_printed_is_told_on_one_line(place):
    (failed,) = place(json.dumps({"code": "disk-full", "sentence": "The disk\n\x1b[31m is full" + "!" * 9000}))
    assert failed.code == "disk-full" and failed.sentence.startswith("The disk [31m is full!") and len(failed.sentence) == 2000


def test_a_fetched_model_is_a_result(place):
    assert isinstance(place('{"fetched": 3}')[-1], Result)
