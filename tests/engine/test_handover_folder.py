# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's folder for large images: whose files are in it, who may use it, and what is removed from it."""

from __future__ import annotations

import os

import pytest

from blender_addon.wire import FROM_CLIENT, Submit, decode, encode
from blender_addon.wire.handover import Folder
from blender_addon.wire.reference import NAME, Reference, stand_in
from engine_server import handover as module
from engine_server.request import Request
from engine_server.results import ResultStore
from tests.wire.test_messages import changed

from .conftest import wait_for
from .handing import killed
from .test_keeping import settled


@pytest.fixture
def own(monkeypatch, tmp_path):
    """A folder of an engine's own, which is swept at once."""
    monkeypatch.setattr(module, "MEMORY", tmp_path)
    monkeypatch.setattr(module, "UNCLAIMED_SECONDS", -1.0)
    monkeypatch.setattr(module, "SWEEP_SECONDS", -1.0)
    made = module.Handover()
    yield made
    made.close()


def laid_down(folder: Folder) -> Reference:
    """A file of a megabyte."""
    return Reference.parse(folder.lay_down(memoryview(bytes(1 << 20))))


def test_what_is_raised_after_files_were_claimed_leaves_none(own):
    kept, lost = (own.carried([b"", b""], {1: laid_down(own.folder)}) for _ in range(2))
    with module.discarded_on_errors(kept):
        pass
    with pytest.raises(ZeroDivisionError), module.discarded_on_errors(lost):
        raise ZeroDivisionError
    assert kept.there() and not lost.there()


def test_sweeping_takes_what_nobody_has_claimed_and_nothing_else(own, monkeypatch):
    claimed, left = laid_down(own.folder), laid_down(own.folder)
    assert own.claim([claimed]) and not own.claim([claimed])
    monkeypatch.setattr(module, "UNCLAIMED_SECONDS", 120.0)
    own.sweep()
    assert own.folder.holds(left)
    monkeypatch.setattr(module, "UNCLAIMED_SECONDS", -1.0)
    own.sweep()
    assert own.folder.holds(claimed) and not own.folder.holds(left) and own.folder.proof()
    own.discard([claimed.name])
    assert not own.folder.holds(claimed)


LAYING_DOWN = """
import sys
from blender_addon.wire.handover import Folder
print(Folder(sys.argv[1]).lay_down(memoryview(bytes(1 << 20))).decode(), flush=True)
input()
"""


def test_what_a_killed_client_has_laid_down_and_not_sent_is_swept(own):
    left = Reference.parse(killed(LAYING_DOWN, own.folder.path).strip().encode())
    assert own.folder.holds(left)
    own.sweep()
    assert not own.folder.holds(left)


def carried(own, byte: int) -> module.Carried:
    """A result's frames with a megabyte in a file."""
    reference = Reference.parse(own.folder.lay_down(memoryview(bytes([byte]) * (1 << 20))))
    return own.carried([b"TEAMWORK", b"{}", reference.frame()], {2: reference})


def test_results_in_files_count_for_the_memory_and_go_to_the_disk_beyond_it(own, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    store = ResultStore(disk, most_memory=5 << 19, most_disk=100 << 20, most=100)
    for number in range(4):
        store.put(number, carried(own, number))
    assert store.size > 4 << 20
    wait_for(lambda: settled(store))
    assert store.in_memory <= 5 << 19
    in_files = [number for number in range(4) if isinstance(store.get(number), module.Carried)]
    assert in_files == [2, 3] and len([name for name in os.listdir(own.folder.path) if NAME.fullmatch(name)]) == 2
    for number in range(4):
        assert [bytes(part) for part in module.whole(store.get(number))][2] == bytes([number]) * (1 << 20)
        store.drop(number)
    assert not [name for name in os.listdir(own.folder.path) if NAME.fullmatch(name)]
    store.close()


def test_a_submission_in_files_counts_with_all_its_bytes(own):
    reference = laid_down(own.folder)
    image = {"dtype": "float32", "shape": [512, 512, 1], "space": "data", "buffer": 0}
    frames = [*changed(encode(Submit("j", "echo", "", {}, (), {})), body={"inputs": {"image": image}}), reference.frame()]
    request = Request("key", b"route", frames, decode(frames, FROM_CLIENT, stand_in))
    assert request.size == sum(map(len, frames)) + (1 << 20)
    assert request.claimed(own) is None and request.claimed(None) is None
    own.prove("key", b"route", own.folder.proof())
    assert module.size_of(request.claimed(own)) == request.size


def test_a_claim_is_for_all_files_of_a_message_or_none(own):
    one, missing = laid_down(own.folder), Reference("0" * 32, 5)
    assert not own.claim([one, missing]) and not own.claim([one, one])
    assert own.claim([one])


def test_only_the_last_thousand_connections_are_known(own):
    assert not own.prove("key", b"wrong", "x") and not own.near("key", b"wrong")
    for number in range(module.MOST_CONNECTIONS + 1):
        assert own.prove("key", b"%d" % number, own.folder.proof())
    assert own.near("key", b"5") and not own.near("key", b"0") and not own.near("other", b"5")
    assert not own.prove("key", b"5", "") and not own.near("key", b"5")


def test_an_engine_that_starts_removes_what_a_killed_one_has_left_and_only_that(own, tmp_path):
    dead = tmp_path / f"{module.PREFIX}dead"
    dead.mkdir(mode=0o700)
    (dead / "proof").write_text("0" * 32)
    (dead / ("0" * 32)).write_text("left")
    young, other = tmp_path / f"{module.PREFIX}young", tmp_path / "something-else"
    young.mkdir()
    other.mkdir()
    module.sweep_dead(tmp_path)
    assert not dead.exists() and young.exists() and other.exists() and own.folder.proof()


def test_an_engine_whose_workers_are_elsewhere_hands_nothing_over():
    assert module.Handover.open(remote=True) is None
