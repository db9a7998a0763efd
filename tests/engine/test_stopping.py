# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that is told to stop: what runs may end, what waits is handed back, nothing is left behind."""

from __future__ import annotations

import argparse
import configparser
import os
import shutil
import signal
import subprocess
import sys

import pytest

from blender_addon.wire import Failed, JobFailed, Progress, Result, read_engine_record

from engine_server.cluster.executor import CLOSE_LIMIT
from engine_server.commands.serve import add_arguments

from .conftest import ROOT, end_of, submit, until, wait_for
from .test_server import exists


def test_what_runs_may_end_and_what_waits_is_handed_back(launch):
    engine = launch()
    with engine.client() as client:
        client.submit(submit("runs", steps=10, seconds_per_step=0.1))
        client.submit(submit("waits"))
        until(client, Progress, "runs")
        engine.process.send_signal(signal.SIGTERM)
        handed_back = until(client, Failed)
        assert (handed_back.job_id, handed_back.code) == ("waits", "engine-stopping")
        with pytest.raises(JobFailed, match="being stopped: submit"):
            client.submit(submit("late"))
        assert isinstance(end_of(client, "runs"), Result)
    assert engine.process.wait(20) == 0 and read_engine_record(engine.home) is None


@pytest.mark.parametrize(("words", "signals"), [(("--drain", "0.5"), 1), (("--drain", "600"), 2)])
def test_time_that_is_up_and_a_second_signal_hand_back_what_runs(launch, words, signals):
    engine = launch(*words)
    with engine.client() as client:
        client.submit(submit("endless", steps=10_000, seconds_per_step=0.05))
        client.submit(submit("behind"))
        until(client, Progress, "endless")
        pid = client.status().worker_pid
        engine.process.send_signal(signal.SIGTERM)
        assert until(client, Failed).job_id == "behind"
        if signals == 2:
            engine.process.send_signal(signal.SIGTERM)
        failed = end_of(client, "endless")
        assert failed.code == "engine-stopping" and "submit it again" in failed.sentence
    assert engine.process.wait(20) == 0
    wait_for(lambda: not exists(pid))


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no such signal")
def test_a_terminal_that_is_closed_stops_the_engine_as_any_other_signal(launch):
    """It reaches the worker as well, which goes on until the engine has handed its job back."""
    engine = launch("--drain", "600")
    with engine.client() as client:
        client.submit(submit("runs", steps=20, seconds_per_step=0.05))
        client.submit(submit("waits"))
        until(client, Progress, "runs")
        for pid in (client.status().worker_pid, engine.process.pid):
            os.kill(pid, signal.SIGHUP)
        assert until(client, Failed).code == "engine-stopping"
        assert isinstance(end_of(client, "runs"), Result)
    assert engine.process.wait(20) == 0


UNIT = ROOT / "docs" / "teamwork-engine.service"


def test_the_unit_gives_running_jobs_their_time_and_starts_what_there_is():
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str
    unit.read(UNIT)
    service = unit["Service"]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(service["ExecStart"].partition(" serve ")[2].split())
    assert service["KillMode"] == "mixed" and float(service["TimeoutStopSec"]) > args.drain + CLOSE_LIMIT
    assert service["RestartPreventExitStatus"] == "2"
    assert service["OOMPolicy"] == "continue"  # a worker that the system ends takes its job with it, not the engine


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this system has no systemd")
def test_systemd_understands_the_unit(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/teamwork/bin/python", sys.executable))
    said = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")
