# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects `scripts/test.py --hosts`: which Blenders there are, their environments, and that no failure goes unnoticed."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from scripts import environment, host_tests, hosts
from scripts.environment import LOG, SetupError
from scripts.hosts import HOSTS, Host
from scripts.supported import SUPPORTED
from scripts.test_command import Outcome
from tests.scripts.test_environment import wheel

RUNNING = sys.version_info[:2]


def test_the_hosts_are_from_the_oldest_blender_to_the_newest():
    assert [host.name for host in hosts.chosen("all")] == ["4.2", "4.5", "5.0", "5.2"]
    assert [host.name for host in hosts.chosen("5.2,4.2")] == ["4.2", "5.2"]
    assert {host.python for host in HOSTS} == set(SUPPORTED)
    for host in HOSTS:
        assert host.bpy.startswith(f"{host.name}.")


def test_the_usual_environment_has_the_newest_of_its_python():
    pinned = [line for line in (environment.ROOT / "constraints.txt").read_text().splitlines() if line.startswith("bpy==")]
    newest = {host.python: host.bpy for host in HOSTS}
    assert {line.split(";")[0].removeprefix("bpy==").strip() for line in pinned} == set(newest.values())


@pytest.mark.parametrize("words", ["4.3", "all,4.2", "", "newest"])
def test_a_blender_that_is_not_there_is_a_sentence(words):
    with pytest.raises(SetupError, match="4.2, 4.5, 5.0, 5.2") as caught:
        hosts.chosen(words)
    assert "\n" not in str(caught.value)


def test_pythons_are_found(monkeypatch, tmp_path):
    assert hosts.find_python(RUNNING) == Path(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    with pytest.raises(SetupError, match="no Python 3.99 here"):
        hosts.find_python((3, 99))


@pytest.fixture
def toy_index(tmp_path, monkeypatch):
    """All that a host's environment needs, as empty packages from a folder, and nothing else."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for line in hosts.pins(hosts.TOOLS):
        wheel(packages, *line.split("=="))
    wheel(packages, "bpy", "9.9.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", packages.as_uri())
    monkeypatch.setattr(hosts, "ROOT", tmp_path)
    return packages


def test_an_environment_is_made_once_without_torch_and_pyzmq(toy_index):
    host, said = Host("9.9", "9.9.0", RUNNING), []
    python = hosts.ensure_host(host, said.append)
    assert python == environment.python_of(host.folder) and "Setting up" in said[0]
    said.clear()
    assert hosts.ensure_host(host, said.append) == python and not said
    names = {path.name for path in host.folder.rglob("*.py")}
    assert "bpy.py" in names and "zmq.py" not in names


def test_an_environment_that_cannot_be_made_is_a_sentence(toy_index):
    host = Host("9.8", "9.8.0", RUNNING)
    with pytest.raises(SetupError) as caught:
        hosts.ensure_host(host, lambda text: None)
    assert str(host.folder / LOG) in str(caught.value)


def test_only_the_add_on_is_tested_there():
    tests = environment.ROOT / "tests"
    assert all((tests / "blender" / name).exists() for name in host_tests.NOT_THE_ADD_ON)


def outcome(tests: int, failures: int = 0, names: tuple[str, ...] = ()) -> Outcome:
    """What a host's tests came to."""
    return Outcome(Counter(tests=tests, failures=failures), list(names))


def test_one_failure_in_one_host_is_the_result(capsys):
    assert host_tests.conclude({"4.2": outcome(3), "5.2": outcome(3)}) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "6 passed, 0 failed"
    assert host_tests.conclude({"4.2": outcome(3, 1, ("tests.a",)), "5.2": outcome(3)}) == 1
    said = capsys.readouterr().out
    assert "FAILED in 4.2: tests.a" in said and said.splitlines()[-1] == "5 passed, 1 failed"
    assert host_tests.conclude({"4.2": outcome(3), "5.2": outcome(0)}) == 1, "a host in which nothing ran"
