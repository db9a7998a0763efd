# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill -9 of worker, client and engine at random moments in 200 short jobs: none is lost, none is done twice."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np

from blender_addon.wire import ChannelImage, Result
from scripts.environment import ROOT
from scripts.soaking.chaos import faults
from scripts.soaking.jobs import SUBMITTED, Ledger, job, right


def soak(tmp_path, *words):
    command = [sys.executable, "scripts/soak.py", *words, "--json", str(tmp_path / "figures.json")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
    return ended, json.loads((tmp_path / "figures.json").read_text()) if (tmp_path / "figures.json").exists() else None


def test_two_hundred_jobs_while_everything_is_killed(tmp_path):
    words = ["--jobs", "200", "--minutes", "3", "--every", "1", "--clients", "8", "--materials", "0"]
    ended, figures = soak(tmp_path, *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert figures["jobs"] >= 200 and figures["faults"] == [] and sum(figures["ends"].values()) == figures["jobs"]
    assert sum(figures["killed"].values()) >= 3 and figures["ends"]["done"] >= 50
    assert set(figures["ends"]) <= {"done", "cancelled", "failed unknown-job", "failed worker-died", "failed worker-failed-to-start"}
    assert figures["memory"]["server"][1] < figures["memory"]["server"][0] + (64 << 20)


def test_what_counts_as_a_fault():
    ends = {"a": ["done"], "b": [], "c": ["done", "cancelled"], "d": ["wrong"]}
    begun = [Counter({b"a": 1, b"e": 2}), Counter({b"a": 1})]
    assert faults(ends, begun) == ["b never ended", "c ended 2 times", "d came back wrong", "e was begun 2 times"]


def test_a_ledger_survives_a_line_that_was_cut_short(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    ledger.note("a", SUBMITTED)
    ledger.note("a", "done")
    ledger.note("b", SUBMITTED)
    with ledger.path.open("a") as file:
        file.write("b do")
    assert ledger.ends() == {"a": ["done"], "b": []}


def test_a_result_with_other_pixels_is_wrong():
    sent = job("x-1", 0.0)
    pixels = sent.inputs["image"].data
    assert right(sent, Result("x-1", {"image": ChannelImage(pixels, "scene-linear")}, {}))
    assert not right(sent, Result("x-1", {"image": ChannelImage(np.flip(pixels, 0).copy(), "scene-linear")}, {}))


def test_a_kind_of_death_that_is_not_known_is_a_sentence(tmp_path):
    ended, figures = soak(tmp_path, "--kill", "worker,moon")
    assert ended.returncode == 2 and figures is None and "does not know moon" in ended.stderr
