# SPDX-License-Identifier: GPL-3.0-or-later
"""The launcher, with real engines and without Blender."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blender_addon import launcher
from blender_addon.wire import Client, Credentials, processes, read_engine_record

PYTHON = Path(sys.executable)
PARENT = """
import os, sys, time
from pathlib import Path
from blender_addon import launcher
launcher.start_engine(Path(sys.executable), sys.argv[1])
print("ready", flush=True)
time.sleep(600)
"""
"""A program that starts an engine and lives on."""


@pytest.fixture
def home(tmp_path) -> Path:
    """A home of its own."""
    return tmp_path / "home"


@pytest.fixture
def engine(home):
    """An engine of the launcher's."""
    started = launcher.start_engine(PYTHON, home)
    yield started
    started.stop()


def test_a_started_engine_answers_and_a_stopped_one_is_gone(engine, home):
    assert launcher.find_engine(home) == engine.record and engine.running
    with Client(engine.record.address, Credentials.local(home)) as client:
        assert client.hello().instance == engine.record.instance
    engine.stop()
    assert launcher.find_engine(home) is None and not engine.running and engine.record is None
    assert "engine has stopped" in engine.log.read_text()


def test_the_record_of_a_killed_engine_finds_nothing(engine, home):
    engine.process.kill()
    engine.process.wait()
    assert read_engine_record(home) and launcher.find_engine(home) is None
    again = launcher.start_engine(PYTHON, home)
    assert launcher.find_engine(home).pid == again.process.pid
    again.stop()


def test_a_port_that_another_program_has_by_now_is_no_engine(engine, home):
    """The record stays when an engine is killed."""
    engine.process.kill(), engine.process.wait()
    host, port = engine.record.address.removeprefix("tcp://").split(":")
    with socket.create_server((host, int(port))):
        assert launcher.find_engine(home) is None
    assert processes.is_there(os.getpid()) and not processes.is_there(2**22 + 1)


def test_an_engine_is_known_whose_python_is_a_child_of_what_was_started(home, tmp_path, monkeypatch):
    """As in a virtual environment of Windows; and the record of another engine, which lay there before, is not taken for its."""
    monkeypatch.setattr(launcher, "REDIRECTS", True)
    old = launcher.start_engine(PYTHON, home)
    old.process.kill(), old.process.wait()
    python = tmp_path / "python"
    python.write_text(f'#!{PYTHON}\nimport subprocess, sys\nsys.exit(subprocess.run(["{PYTHON}", *sys.argv[1:]]).returncode)\n')
    python.chmod(0o755)
    engine = launcher.spawn_engine(python, home)
    assert read_engine_record(home) and engine.record is None
    record = engine.wait()
    assert record.pid != engine.process.pid
    with Client(record.address, Credentials.local(home)) as client:
        assert client.hello().instance == record.instance
    os.kill(record.pid, signal.SIGTERM)
    assert engine.process.wait(20) == 0


def test_an_engine_ends_with_the_program_that_started_it(home):
    parent = subprocess.Popen([PYTHON, "-c", PARENT, str(home)], cwd=launcher.ROOT, stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"ready\n"
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20.0
    while read_engine_record(home) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert read_engine_record(home) is None
    parent.stdout.close()


def test_the_code_is_found_beside_its_environment(tmp_path, monkeypatch):
    """As for an installed extension, which has no engine beside it."""
    (tmp_path / "repository" / "engine_server").mkdir(parents=True)
    python = tmp_path / "repository" / ".venv" / "bin" / "python"
    monkeypatch.setattr(launcher, "ROOT", tmp_path)
    assert launcher._sources(python) == [str(tmp_path / "repository")]
    assert launcher._sources(Path("/usr/bin/python3")) == [] == launcher._sources(Path("python"))


def test_what_lies_in_the_working_folder_is_not_imported(home, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    launcher.start_engine(PYTHON, home).stop()


def test_a_python_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv(launcher.PYTHON_VARIABLE, "/nowhere/python")
    with pytest.raises(launcher.LaunchError, match="no Python at /nowhere/python"):
        launcher.find_python()
    assert launcher.find_python(sys.executable) == PYTHON, "what is chosen counts more"


def test_without_any_environment_the_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.delenv(launcher.PYTHON_VARIABLE, raising=False)
    monkeypatch.setenv("TEAMWORK_HOME", str(tmp_path))
    monkeypatch.setattr(launcher, "ROOT", tmp_path)
    with pytest.raises(launcher.LaunchError, match="preferences"):
        launcher.find_python()


def test_an_engine_that_cannot_start_says_its_last_words(home, monkeypatch, tmp_path):
    with pytest.raises(launcher.LaunchError, match="ended at once") as caught:
        launcher.start_engine(Path(shutil.which("false")), home)
    assert str(home / launcher.LOG) in str(caught.value)
    monkeypatch.setattr(launcher, "ROOT", tmp_path)
    bare = tmp_path / "bare"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", bare], check=True)
    with pytest.raises(launcher.LaunchError, match="No module named 'engine_server'|No module named engine_server"):
        launcher.start_engine(bare / "bin" / "python", home)


def test_what_is_no_program_is_one_sentence(home, tmp_path):
    (tmp_path / "text").write_text("This is a text.")
    with pytest.raises(launcher.LaunchError, match="cannot be started"):
        launcher.start_engine(tmp_path / "text", home)
    home_that_is_a_file = tmp_path / "text"
    with pytest.raises(launcher.LaunchError, match="cannot be started"):
        launcher.start_engine(PYTHON, home_that_is_a_file)
