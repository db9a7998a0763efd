# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's own environment, really made, from tiny wheels in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from blender_addon.environment import Plan, Setup, environment_folder, hardware, installed, installer, log_file, python_of, pythons
from blender_addon.environment.place import STAMP, Installed, write_stamp
from tests.addon.wheels import engine_wheel, script, torch_wheel

PYTHON = Path(sys.executable).resolve()
SLEEPY = """
import time
def build_wheel(*words, **settings):
    time.sleep(600)
prepare_metadata_for_build_wheel = build_wheel
"""
"""A package that takes minutes to build."""
ENDLESS = """
import sys, time
from pathlib import Path
from blender_addon.environment import Plan, Setup
setup = Setup(Plan(Path(sys.argv[1]), python=sys.argv[2], source=sys.argv[3], index=sys.argv[4]))
while setup.progress.step < 3 and setup.running: time.sleep(0.01)
print("begun", setup.sentence, flush=True)
time.sleep(600)
"""
"""A program that sets up and is killed in the middle."""


@pytest.fixture(scope="module", autouse=True)
def plain_pip():
    """No settings of this computer's pip."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            patch.delenv(name)
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        yield


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    """A folder with all that an environment needs."""
    folder = tmp_path_factory.mktemp("index")
    torch_wheel(folder)
    engine_wheel(folder)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, index) -> Path:
    """A home with a whole environment, copied by tests that change it."""
    home = tmp_path_factory.mktemp("whole") / "home"
    setup = finish(plan(home, index))
    assert setup.state == "done", setup.sentence + log_file(home).read_text()
    return home


def plan(home: Path, wheels: Path, **changes) -> Plan:
    """The usual plan of these tests."""
    wheel = next(wheels.glob("teamwork_blender-*.whl"))
    usual = {"home": home, "python": str(PYTHON), "source": str(wheel), "index": str(wheels), "device": "cpu"}
    return Plan(**(usual | changes))


def finish(chosen: Plan) -> Setup:
    """A set-up, waited for."""
    setup = Setup(chosen)
    assert setup.wait(120) and not setup.running and setup.sentence.endswith(".")
    return setup


def wait_for(condition, seconds: float = 60.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_environment_is_made_and_can_run_the_engine(whole):
    stamp = installed(whole)
    assert (stamp.device, stamp.torch, stamp.engine) == ("cpu", "2.13.0", "0.1.0")
    assert json.loads((environment_folder(whole) / STAMP).read_text())["device"] == "cpu", "people can read it, too"
    asked = [python_of(environment_folder(whole)), "-I", "-c", "import engine_server, sys; print(sys.prefix)"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(said).resolve() == environment_folder(whole).resolve()
    assert "engine_server" not in os.listdir(Path(PYTHON).parents[1]), "the Python that it came from is as it was"


def test_a_second_time_keeps_what_is_there(whole, index):
    marker = environment_folder(whole) / "kept"
    marker.touch()
    setup = finish(plan(whole, index))
    assert setup.state == "done" and marker.exists() and installed(whole)
    assert setup.progress.step == setup.progress.steps == 5


def test_a_half_made_environment_is_made_anew_and_progress_grows(tmp_path, index):
    home = tmp_path / "home"
    python_of(environment_folder(home)).parent.mkdir(parents=True)
    script(python_of(environment_folder(home)), "#!/bin/sh\nexit 1\n")
    setup, seen = Setup(plan(home, index)), []
    while setup.running:
        seen.append(setup.progress)
        time.sleep(0.005)
    factors = [each.factor for each in seen]
    assert factors == sorted(factors) and 0.0 <= factors[0] and factors[-1] <= 1.0
    lines = {each.line for each in seen}
    assert any("Making the environment" in line for line in lines) and any("PyTorch for the CPU" in line for line in lines)
    assert setup.state == "done", setup.sentence


def test_another_engine_of_the_same_version_takes_its_place(whole, index, tmp_path):
    wheel = engine_wheel(tmp_path / "new", code="NEW = True\n")
    home = whole
    before = installed(home)
    assert finish(plan(home, index, source=str(wheel))).state == "done"
    python = python_of(environment_folder(home))
    subprocess.run([python, "-I", "-c", "import engine_server; assert engine_server.NEW"], check=True)
    assert installed(home).source != before.source, "so that a new extension sees an old engine"


# ---- interruptions ---------------------------------------------------------------------------------------------------


@pytest.fixture
def sleepy(tmp_path) -> Path:
    """The source of an engine that takes minutes to install."""
    source = tmp_path / "sleepy"
    source.mkdir()
    build = 'requires = []\nbuild-backend = "sleepy"\nbackend-path = ["."]\n'
    (source / "pyproject.toml").write_text("[build-system]\n" + build)
    (source / "sleepy.py").write_text(SLEEPY)
    return source


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    own = [int(each) for each in listed.split()]
    return own + [each for child in own for each in children_of(child)]


def test_cancel_ends_it_with_its_children(whole, index, sleepy):
    home = whole
    before = set(children_of(os.getpid()))
    setup = Setup(plan(home, index, source=str(sleepy)))
    wait_for(lambda: setup.progress.step == 4 or not setup.running)
    wait_for(lambda: len(set(children_of(os.getpid())) - before) >= 2)  # pip, and what builds the package for it
    started = set(children_of(os.getpid())) - before
    setup.cancel()
    assert setup.wait(30) and setup.state == "cancelled" and installed(home) is None
    wait_for(lambda: not started & set(children_of(os.getpid())))


def test_what_a_killed_blender_left_is_gone_on_with(tmp_path, index, sleepy):
    home = tmp_path / "home"
    words = [str(home), str(PYTHON), str(sleepy), str(index)]
    root = Path(__file__).resolve().parents[2]
    killed = subprocess.Popen([sys.executable, "-c", ENDLESS, *words], cwd=root, stdout=subprocess.PIPE, text=True)
    assert killed.stdout.readline() == "begun \n"
    busy = finish(plan(home, index))
    assert busy.state == "failed" and "Another Blender" in busy.sentence
    left = children_of(killed.pid)
    killed.kill()
    killed.wait()
    killed.stdout.close()
    for pid in left:
        subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)
    assert installed(home) is None
    (environment_folder(home) / "kept").touch()
    assert finish(plan(home, index)).state == "done" and installed(home) and (environment_folder(home) / "kept").exists()


def test_an_environment_whose_python_has_gone_is_not_set_up(tmp_path):
    home = tmp_path / "home"
    (home / "env" / "bin").mkdir(parents=True)
    write_stamp(home / "env", Installed("", "cpu", "3.12.1", "2.13.0", "0.1.0"))
    (home / "env" / "bin" / "python").symlink_to(tmp_path / "gone")
    assert installed(home) is None
    (home / "env" / STAMP).write_text('{"source": ')
    assert installed(home) is None and installed(tmp_path) is None


def test_an_environment_that_outlives_the_python_it_was_made_from_is_not_set_up(whole, index, tmp_path):
    """On Windows its own Python is a copy, which stays, and ends at once."""
    finish(plan(whole, index))
    told = environment_folder(whole) / "pyvenv.cfg"
    before = told.read_text()
    try:
        told.write_text("\n".join(f"home = {tmp_path / 'gone'}" if line.startswith("home") else line for line in before.splitlines()))
        assert installed(whole) is None
    finally:
        told.write_text(before)
    assert installed(whole)


def test_a_mistake_in_the_settings_leaves_a_working_engine_as_it_is(whole, index, tmp_path):
    finish(plan(whole, index))
    assert "no Python at" in finish(plan(whole, index, python=str(tmp_path / "none"))).sentence
    assert installed(whole)


def test_a_pytorch_of_another_build_is_exchanged(tmp_path, monkeypatch):
    """pip calls any build of a version good enough."""
    home, folders = tmp_path / "home", {}
    for build in ("cpu", "cu130"):
        torch_wheel(folder := tmp_path / build, f"2.13.0+{build}")
        folders[build], wheel = folder, engine_wheel(folder)
    where = lambda index, extra: ["--no-index", "--find-links", str(folders.get(extra.rpartition("/")[2], tmp_path))]  # noqa: E731
    monkeypatch.setattr("blender_addon.environment.installer.index_options", where)
    setup = finish(plan(home, wheel.parent, index=""))
    assert setup.state == "done", setup.sentence + log_file(home).read_text()
    assert installed(home).torch == "2.13.0+cpu"
    monkeypatch.setattr("blender_addon.environment.hardware.nvidia_gpus", lambda: [hardware.Gpu("NVIDIA H200", 9.0, 580)])
    assert finish(plan(home, wheel.parent, index="", device="auto")).state == "done" and installed(home).torch == "2.13.0+cu130"
    told = finish(plan(home, wheel.parent, index="", device="cuda"))
    assert "PyTorch 2.13.0+cu130 cannot compute on cuda here" in told.sentence and installed(home) is None


def test_pip_works_beside_the_log_and_leaves_nothing_there(whole, index, tmp_path, monkeypatch):
    """The system's own place for such files may be small, or, as here, not there; and pip may be told to install for the user."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PIP_USER", "1")
    setup = finish(plan(whole, index))
    assert setup.state == "done" and not (whole / "tmp").exists()


def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path, index, monkeypatch):
    monkeypatch.setattr(installer.shutil, "disk_usage", lambda place: SimpleNamespace(free=1e6))
    home = tmp_path / "home"
    assert "needs 3 GB" in finish(plan(home, index, index="")).sentence and not environment_folder(home).exists()


# ---- sentences -------------------------------------------------------------------------------------------------------


def test_a_python_that_does_not_fit_is_named(tmp_path, index):
    old = script(tmp_path / "python3.9", "#!/bin/sh\ncase \"$*\" in *venv*) echo 3 9 True linux-x86_64 /usr;; *) echo 3 9;; esac\n")
    for python, told in ((old, "is Python 3.9"), ("/bin/false", "does not run"), (str(tmp_path / "none"), "no Python at")):
        sentence = finish(plan(tmp_path / "home", index, python=python)).sentence
        assert told in sentence and "3.11 to 3.13" in sentence
    assert not environment_folder(tmp_path / "home").exists()


def test_a_computer_without_a_python_says_what_to_do(tmp_path, index, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr("blender_addon.environment.pythons.search_path", lambda: str(empty))
    assert "Install Python 3.12 or uv" in finish(plan(tmp_path / "home", index, python="")).sentence
    script(empty / "python3", "#!/bin/sh\ncase \"$*\" in *venv*) echo 3 14 True linux-x86_64 /usr;; *) echo 3 14;; esac\n")
    assert "python3 is Python 3.14" in finish(plan(tmp_path / "home", index, python="")).sentence
    assert pythons.find("", PYTHON, lambda command: 1) == PYTHON, "from Blender's own Python"


def test_an_index_without_the_packages_is_one_sentence(whole, index, tmp_path):
    needy = engine_wheel(tmp_path / "index", needs="nowhere>=1")
    setup = finish(plan(whole, index, source=str(needy), index=str(needy.parent)))
    assert "has no build of nowhere>=1" in setup.sentence and str(log_file(whole)) in setup.sentence
    assert "No matching distribution" in log_file(whole).read_text()


def test_an_index_that_cannot_be_reached_is_one_sentence(whole, index, monkeypatch):
    monkeypatch.setenv("PIP_RETRIES", "1")
    wheel = engine_wheel(whole.parent / "needy", needs="nowhere>=1")
    setup = finish(plan(whole, index, source=str(wheel), index="http://127.0.0.1:9/simple"))
    assert setup.state == "failed" and "cannot be reached" in setup.sentence


def test_an_engine_that_does_not_run_is_not_called_whole(whole, index, tmp_path):
    wheel = engine_wheel(tmp_path / "broken", code="raise ImportError('no luck')\n")
    setup = finish(plan(whole, index, source=str(wheel)))
    assert "no luck" in setup.sentence and installed(whole) is None
