# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the making of the environment, with real virtual environments and one tiny package of our own."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts import environment
from scripts.environment import LOG, STAMP, SetupError, ensure, guarded, python_of, requirements

WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def wheel(folder: Path, name: str, version: str) -> Path:
    """A package with one module that knows its version."""
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", WHEEL)
        archive.writestr(f"{info}/RECORD", "")
    return path


def project(root: Path, *wanted: str, constraint: str = "") -> None:
    """A project that wants some packages."""
    listed = ", ".join(f'"{each}"' for each in wanted)
    text = f'[project]\nname = "toy"\nversion = "1"\ndependencies = [{listed}]\n'
    text += "[project.optional-dependencies]\nmore = []\n"
    (root / "pyproject.toml").write_text(text)
    (root / "constraints.txt").write_text(constraint)


class Toy:
    """A project in a folder of its own, whose packages come from a folder beside it and from nowhere else."""

    def __init__(self, root: Path) -> None:
        self.root, self.said = root, []

    def ensure(self) -> Path:
        """Set up; what was said is kept."""
        self.said.clear()
        return ensure(self.root, ("more",), self.said.append)

    def version(self, name: str = "toypart") -> str:
        """The installed version of a package, as its own Python sees it."""
        command = [python_of(self.root / ".venv"), "-c", f"import {name}; print({name}.VERSION)"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def toy(tmp_path, monkeypatch):
    packages = tmp_path / "packages"
    packages.mkdir()
    for version in ("1.0", "2.0"):
        wheel(packages, "toypart", version)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", packages.as_uri())
    root = tmp_path / "with space"
    root.mkdir()
    project(root, "toypart", constraint="toypart<2\n")
    return Toy(root)


def test_made_once_then_at_hand_updated_when_the_project_changes_and_taken_up_when_cut_off(toy):
    python = toy.ensure()
    assert python == python_of(toy.root / ".venv") and toy.version() == "1.0"
    assert "Setting up" in toy.said[0] and "Set up in" in toy.said[-1]
    assert any("Installing collected packages: toypart" in line for line in toy.said)

    toy.ensure()
    assert toy.said == [], "the second time there is nothing to do"

    project(toy.root, "toypart>=2")
    toy.ensure()
    assert toy.version() == "2.0" and toy.said

    (toy.root / ".venv" / STAMP).unlink()
    toy.ensure()
    assert toy.said and (toy.root / ".venv" / STAMP).exists()


def test_half_made_and_broken_ones_are_repaired(toy):
    (toy.root / ".venv" / "lib").mkdir(parents=True)
    toy.ensure()
    assert toy.version() == "1.0", "a folder in which nothing had been made yet"

    python = python_of(toy.root / ".venv")
    python.unlink()
    python.symlink_to(toy.root / "gone")
    toy.ensure()
    assert toy.version() == "1.0", "the Python that it was made with had been removed"


def test_a_package_that_cannot_be_had_is_a_sentence_with_the_log(toy):
    project(toy.root, "toypart==7.0")
    with pytest.raises(SetupError) as caught:
        toy.ensure()
    log = toy.root / ".venv" / LOG
    assert str(log) in str(caught.value) and "toypart==7.0" in log.read_text()
    assert not (toy.root / ".venv" / STAMP).exists()

    project(toy.root, "toypart")
    toy.ensure()
    assert toy.version() == "2.0", "it goes on from there once that is mended"


def test_a_place_where_nothing_can_be_made_is_a_sentence(toy):
    (toy.root / ".venv").write_text("in the way")
    with pytest.raises(SetupError, match="cannot be made"):
        toy.ensure()


def test_mistakes_end_the_commands_with_a_status_and_a_sentence(monkeypatch, capsys):
    def broken():
        raise SetupError("Nothing can be made here.")

    monkeypatch.setattr(environment, "ensure", broken)
    assert guarded(lambda python: 0) == 2
    assert capsys.readouterr().err == "Nothing can be made here.\n"
    monkeypatch.setattr(environment, "ensure", lambda: Path(sys.executable))
    assert guarded(lambda python: 7) == 7

    def stopped(python):
        raise KeyboardInterrupt

    assert guarded(stopped) == 130


def test_everything_that_is_imported_is_asked_for():
    wanted = {line.split(">")[0] for line in requirements()}
    assert {"numpy", "pyzmq", "torch", "diffusers", "safetensors", "pillow", "scipy", "bpy", "pytest"} <= wanted


def test_the_constraints_name_what_the_project_asks_for_and_fit_its_ranges():
    wanted = dict(line.split(">=") for line in requirements((*environment.EXTRAS, "cluster")))
    for line in (environment.ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split(";")[0].strip().split("==")
            numbers = [tuple(int(part) for part in text.split(".")) for text in (version, wanted[name])]
            assert numbers[0] >= numbers[1], line
