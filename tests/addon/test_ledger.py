# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs that a Blender leaves behind, with real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from blender_addon.ledger import Entry, Ledger

ROOT = Path(__file__).resolve().parents[2]
ENTRY = Entry("a", "key", "scene.blend", "Material from wall", "material", "nano", "wall", "wall.png", seed=7)
OTHER = """
import sys, time
from blender_addon.ledger import Entry, Ledger
ledger = Ledger(sys.argv[1])
ledger.note(Entry("b", "key", "", "Other", "echo", "", "other", ""))
print("noted", flush=True)
time.sleep(600)
"""
"""Another Blender."""


def test_what_is_noted_is_there_until_it_is_forgotten(tmp_path):
    ledger = Ledger(tmp_path)
    assert ledger.left_behind() == [] and not (tmp_path / "jobs").exists()
    ledger.note(ENTRY)
    [kept] = ledger.left_behind()
    assert replace(kept, time=0.0) == ENTRY and kept.time > 0.0
    ledger.forget("a")
    ledger.forget("never there")
    assert ledger.left_behind() == []


def test_a_blender_that_was_closed_leaves_its_jobs_to_the_next(tmp_path):
    first, second = Ledger(tmp_path), Ledger(tmp_path)
    first.note(ENTRY)
    assert second.left_behind() == [], "the first one lives"
    first.close()
    assert [entry.job_id for entry in second.left_behind()] == ["a"]
    assert [entry.job_id for entry in second.left_behind()] == ["a"], "it is the second's now"
    assert Ledger(tmp_path).left_behind() == []
    second.forget("a")
    second.close()
    assert not list((tmp_path / "jobs").iterdir())


def test_a_blender_that_was_killed_leaves_its_jobs_to_the_next(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", OTHER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "noted\n"
    mine = Ledger(tmp_path)
    assert mine.left_behind() == []
    other.kill()
    other.wait()
    other.stdout.close()
    assert [entry.job_id for entry in mine.left_behind()] == ["b"]


def test_what_cannot_be_read_or_is_old_is_forgotten(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.note(ENTRY)
    ledger.note(replace(ENTRY, job_id="old", time=time.time() - 40 * 86400))
    [folder] = (tmp_path / "jobs").iterdir()
    (folder / "broken.json").write_text('{"job_id": 1')
    (folder / "foreign.json").write_text('{"colour": "red"}')
    assert [entry.job_id for entry in ledger.left_behind()] == ["a"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "lock"]


def test_a_disk_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "jobs").write_text("in the way")
    ledger = Ledger(tmp_path)
    ledger.note(ENTRY)
    ledger.forget("a")
    assert ledger.left_behind() == []
