# SPDX-License-Identifier: GPL-3.0-or-later
"""What the people who run an engine are told: its status, figures for Prometheus, and a log that names jobs and no secrets."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from blender_addon.wire import Failed, JobCancelled, JobFailed, Progress
from engine_server import logs

from .conftest import ENGINE_PYTHON, ROOT, end_of, submit, until, wait_for


@pytest.fixture(scope="module")
def busy(tmp_path_factory, models):
    """An engine with a log file and metrics that has done a material and an echo, failed one job, and cancelled one."""
    from .conftest import Engine

    folder = tmp_path_factory.mktemp("telling")
    engine = Engine(folder / "home", models, "--log", str(folder / "logs" / "engine.log"), "--metrics", "127.0.0.1:0")
    with engine.client(timeout=60.0) as client:
        client.run(submit("made", "material", ("albedo",)), timeout=120)
        client.run(submit("echoed"))
        with pytest.raises(JobFailed):
            client.run(submit("unfit", "echo", ("nonsense",)))
        with pytest.raises(JobCancelled):
            client.run(submit("given-up", steps=100, seconds_per_step=0.05), on_progress=lambda news: client.cancel("given-up"))
        client.submit(submit("kept"))
        end_of(client, "kept")
    yield engine, folder / "logs" / "engine.log"
    engine.stop()


def test_the_status_counts_ends_and_names_warm_models_and_failures(busy):
    with busy[0].client() as client:
        status = client.status()
    assert (status.done, status.failed, status.cancelled, status.running, status.kept) == (3, 1, 1, 0, 1)
    assert status.warm == ("tiny",)
    (failure,) = status.failures
    assert failure.job_id == "unfit" and failure.code == "bad-input" and 0 <= failure.seconds < 300


def test_the_command_shows_them(busy):
    words = [sys.executable, "-m", "engine_server", "status", "--home", str(busy[0].home)]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "models   tiny loaded" in said and "ended    3 done, 1 failed, 1 cancelled" in said
    assert re.search(r"^failed   \d+ s ago, unfit: echo has no 'nonsense'.* \(bad-input\)$", said, re.M)


def test_prometheus_gets_figures_without_names_of_jobs(busy):
    port = re.search(r"^metrics at port (\d+)$", busy[0].log.read_text(), re.M)[1]

    def told() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return answer.read().decode()

    wait_for(lambda: 'teamwork_jobs_total{end="cancelled"} 1.0' in told())
    figures = dict(line.rsplit(" ", 1) for line in told().splitlines() if line and line[0] != "#")
    assert float(figures['teamwork_jobs_total{end="done"}']) == 3 and float(figures["teamwork_models_warm"]) == 1
    assert float(figures['teamwork_failures_total{code="bad-input"}']) == 1 and float(figures["teamwork_job_seconds_total"]) > 0
    assert float(figures["teamwork_results_kept_bytes"]) > 0 and not re.search("unfit|given-up|echoed", told())


def test_the_log_names_the_job_in_each_line_about_one_and_never_a_secret(busy):
    engine, log = busy
    lines = log.read_text().splitlines()
    for job in ("made", "echoed", "unfit", "given-up"):
        mine = [line for line in lines if re.search(rf"\b{job}\b", line)]
        assert len({re.match(r"\S+ \S+ (\d+) ", line)[1] for line in mine}) == 2, "of the server and of its worker"
    assert any("[made] job made: material on cpu" in line for line in lines)
    secrets = [json.loads(path.read_text())["secret"] for path in (engine.home / "keys").glob("*.json")]
    assert len(secrets) == 2 and not any(secret in log.read_text() + engine.log.read_text() for secret in secrets)


def test_the_lines_of_a_worker_that_crashes_are_in_the_log_too(launch, tmp_path):
    log = tmp_path / "engine.log"
    with launch("--log", str(log), "--hang-limit", "60").client() as client:
        client.submit(submit("crash", steps=1000, seconds_per_step=0.05))
        until(client, Progress, "crash")
        os.kill(client.status().worker_pid, signal.SIGABRT)
        assert until(client, Failed, "crash").code == "worker-died"
        wait_for(lambda: "Fatal Python error: Aborted" in log.read_text())


def test_a_log_is_rotated_at_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "FILE_BYTES", 2000)
    handler = logs._file_handler(tmp_path / "new" / "engine.log")
    for number in range(400):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, f"line {number} " + "x" * 60, (), None))
    handler.close()
    files = sorted((tmp_path / "new").iterdir())
    assert len(files) == 1 + logs.OLDER_FILES and all(file.stat().st_size <= 2000 for file in files)
    assert "line 399 " in (tmp_path / "new" / "engine.log").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--log", "{folder}/file/engine.log"], "cannot be written"),
        (["--metrics", "127.0.0.1:99999"], "is not an address"),
        (["--metrics", "203.0.113.1:9000"], "choose another port"),
    ],
)
def test_what_cannot_be_told_is_a_sentence_at_the_start(words, sentence, tmp_path):
    (tmp_path / "file").touch()
    words = [word.format(folder=tmp_path) for word in words]
    command = [ENGINE_PYTHON, "-m", "engine_server", "serve", "--address", "127.0.0.1:0", "--home", str(tmp_path / "home"), *words]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 2 and sentence in said.stderr and "Traceback" not in said.stderr
