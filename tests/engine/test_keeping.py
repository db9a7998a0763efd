# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server keeps: waiting jobs within a budget, results in memory and then on disk, the oldest given up first."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from engine_server.queue import DONE, Job, Queue, QueueFull
from engine_server.results import ResultStore

from .conftest import ROOT, wait_for


def frames(number: int, size: int = 1000) -> list[bytes]:
    """A message of `size` bytes."""
    return [bytes([number]) * (size - 10), b"0123456789"]


def settled(store: ResultStore) -> bool:
    """Has the store written what it wanted to?"""
    store.settle()
    return not any(kept.writing for kept in store._kept.values())


def job(name: str, size: int = 10, owner: str = "me") -> Job:
    """A waiting job."""
    return Job(owner, name, "echo", b"", [], size, b"")


def test_results_beyond_the_memory_lie_on_disk_and_come_back_exactly(tmp_path):
    store = ResultStore(tmp_path, most_memory=2500, most_disk=10_000, most=100)
    for number in range(5):
        store.put(number, frames(number))
    wait_for(lambda: settled(store))
    assert store.in_memory <= 2500 and store.size == 5000
    for number in range(5):
        assert [bytes(frame) for frame in store.get(number)] == frames(number)
    store.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("limits", "kept"), [({"most": 2}, [3, 4]), ({"most_disk": 500}, [2, 3, 4])])
def test_the_oldest_results_go_first(tmp_path, limits, kept):
    store = ResultStore(tmp_path, **{"most_memory": 2500, "most_disk": 10_000, "most": 100} | limits)
    for number in range(5):
        store.put(number, frames(number))
    assert [number for number in range(5) if store.get(number)] == kept
    store.drop(4)
    assert store.get(4) is None and len(store) == len(kept) - 1
    store.close()


def test_a_disk_that_takes_nothing_loses_nothing(tmp_path):
    store = ResultStore(tmp_path / "missing", most_memory=500, most_disk=10_000, most=100)
    store.put("a", frames(1))
    wait_for(lambda: settled(store))
    assert [bytes(frame) for frame in store.get("a")] == frames(1)
    store.close()


def test_what_no_disk_takes_has_the_room_of_memory_alone(tmp_path):
    store = ResultStore(tmp_path / "missing", most_memory=2500, most_disk=10_000, most=100)
    for number in range(6):
        store.put(number, frames(number))
        wait_for(lambda: settled(store))
    assert [number for number in range(6) if store.get(number)] == [4, 5]
    store.close()


FULL = """
import resource, sys
from pathlib import Path
from engine_server.results import ResultStore
from tests.engine.test_keeping import frames, settled
from tests.engine.conftest import wait_for
store = ResultStore(Path(sys.argv[1]), most_memory=500, most_disk=10_000_000, most=100)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
large = [bytes([7]) * 100_000, bytes([8]) * 50_000]
store.put("large", large)
wait_for(lambda: settled(store))
assert [bytes(frame) for frame in store.get("large")] == large and not store._kept["large"].on_disk
store.put("small", frames(1))
assert [bytes(frame) for frame in store.get("small")] == frames(1)
store.close()
print("nothing lost")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of files")
def test_a_disk_that_is_full_in_the_middle_of_a_result_loses_nothing(tmp_path):
    """As the system sees it: a file gets no more than a thousand bytes, and the rest is an error."""
    ended = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "nothing lost\n"), ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_queue_is_bounded_in_number_and_in_bytes():
    queue = Queue(limit=2, most_bytes=100)
    first = job("a", size=60)
    queue.add(first)
    with pytest.raises(QueueFull, match="MiB of images"):
        queue.add(job("b", size=60))
    queue.add(job("c", size=30))
    with pytest.raises(QueueFull, match="2 jobs wait"):
        queue.add(job("d", size=1))
    first.state = DONE
    queue.add(job("d", size=1))
    assert [each.job_id for each in queue.waiting()] == ["c", "d"] and queue.position(queue.find("me", "d")) == 1


def test_names_are_an_owners_own():
    queue = Queue(limit=9, most_bytes=1000)
    mine, yours = job("same"), job("same", owner="you")
    queue.add(mine)
    queue.add(yours)
    assert queue.find("me", "same") is mine and queue.of("you") == [yours]
    queue.remove(mine)
    assert queue.find("me", "same") is None and queue.find("you", "same") is yours


def test_owners_take_turns_and_a_first_job_finds_a_place():
    queue = Queue(limit=3, most_bytes=1000)
    for name in ("a", "b", "c"):
        queue.add(job(name))
    queue.serve(queue.find("me", "a"))
    queue.find("me", "a").state = DONE
    queue.add(job("d"))
    with pytest.raises(QueueFull, match="3 jobs wait. Try"):
        queue.add(job("e"))
    queue.add(job("mine", owner="you"))  # although me has taken all places
    assert [each.job_id for each in queue.waiting()] == ["mine", "b", "c", "d"]
    with pytest.raises(QueueFull):
        queue.add(job("second", owner="you"))


def test_a_full_queue_tells_how_long_it_may_take():
    queue = Queue(limit=2, most_bytes=1000)
    for seconds in (10.0, 20.0):
        queue.took(seconds)
    queue.add(job("a"))
    queue.add(job("b"))
    with pytest.raises(QueueFull, match="2 jobs wait, which may take 30 s"):
        queue.add(job("c"))
