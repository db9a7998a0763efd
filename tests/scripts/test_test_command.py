# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects `scripts/test.py`: which processes there are, what they see, and that no failure goes unnoticed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from scripts import test_command
from scripts.test_command import groups, run

GOOD = "import os\ndef test_good():\n    open(os.environ['SEEN'], 'a').write(f'{os.getpid()}\\n')\n"
BAD = "def test_bad():\n    assert 1 == 2\n"
DEAD = "import os\ndef test_dead():\n    os._exit({})\n"


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A folder with tests in several places; each good one notes its process."""
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name in ("pure/test_a.py", "pure/test_b.py", "test_top.py", "blender/test_c.py", "blender/test_d.py"):
        write(tmp_path, name, GOOD)
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / "tests" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def ran(root: Path, *words: str) -> int:
    return run(Path(sys.executable), root, list(words))


def seen(root: Path) -> list[str]:
    return (root / "seen").read_text().split()


def test_blender_gets_a_process_for_each_file_and_all_others_share_one(suite, capfd):
    assert ran(suite) == 0
    processes = seen(suite)
    assert len(processes) == 5 and len(set(processes)) == 3 and len(set(processes[:3])) == 1
    assert capfd.readouterr().out.splitlines()[-1] == "5 passed, 0 failed"


def test_one_failure_anywhere_is_the_result_and_the_rest_runs_all_the_same(suite, capfd):
    write(suite, "pure/test_a.py", BAD)
    assert ran(suite) == 1
    said = capfd.readouterr().out.splitlines()
    assert said[-1] == "4 passed, 1 failed" and "FAILED tests.pure.test_a.test_bad" in said
    assert len(seen(suite)) == 4


@pytest.mark.parametrize("status", [1, 3, 139])
def test_a_process_that_dies_is_a_failure(suite, capfd, status):
    write(suite, "blender/test_c.py", DEAD.format(status))
    assert ran(suite) == 1
    assert f"FAILED test_c.py (the process ended with status {status})" in capfd.readouterr().out


def test_a_file_that_cannot_be_read_is_a_failure(suite, capfd):
    write(suite, "blender/test_d.py", "import nothing_of_that_name\n")
    assert ran(suite) == 1
    assert capfd.readouterr().out.splitlines()[-1].endswith("1 failed")


def test_words_choose(suite, capfd):
    assert ran(suite, "tests/blender", "tests/pure/test_b.py::test_good") == 0
    assert len(set(seen(suite))) == 3
    assert capfd.readouterr().out.splitlines()[-1] == "3 passed, 0 failed"
    assert ran(suite, "-k", "test_top") == 0
    assert capfd.readouterr().out.splitlines()[-1] == "1 passed, 0 failed"


def test_a_word_that_fits_nothing_does_not_pass(suite, capfd):
    assert ran(suite, "-k", "nothing_of_that_name") == 1
    assert "No test was run" in capfd.readouterr().out


def test_the_tests_keep_off_the_users_own_files(suite, capfd):
    homes = ("TEAMWORK_HOME", "BLENDER_USER_RESOURCES", "HF_HOME", "XDG_CACHE_HOME")
    write(
        suite,
        "test_top.py",
        f"import os, pathlib\ndef test_top():\n    print({os.getpid()})\n    for name in {homes}:\n"
        "        folder = pathlib.Path(os.environ[name])\n        assert folder.is_dir() and not list(folder.iterdir())\n"
        "        assert 'teamwork-tests-' in str(folder)\n    assert os.environ['OMP_NUM_THREADS'] == '1'\n",
    )
    assert ran(suite, "tests/test_top.py") == 0, capfd.readouterr().out


def test_every_test_of_this_project_is_in_a_group():
    tests = Path(__file__).resolve().parents[1]
    files = {path for path in tests.rglob("test_*.py")}
    entries = [entry for group in groups(tests, []) for entry in group]
    covered = [path for entry in entries for path in ([entry] if entry.is_file() else entry.rglob("test_*.py"))]
    assert set(covered) == files and len(covered) == len(files)


@pytest.mark.parametrize("names", ["foo", "4.2,foo", ""])
def test_a_host_that_is_none_is_refused_before_anything_is_set_up(monkeypatch, capsys, names):
    monkeypatch.setattr(test_command.environment, "guarded", lambda work: pytest.fail("set up"))
    monkeypatch.setattr(sys, "argv", ["test.py", "--hosts", names])
    assert test_command.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("There is no host ") and "4.5" in said and said.count("\n") == 1
