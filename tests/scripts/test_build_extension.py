# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the extension's zips and its repository: what is in them, that Blender accepts them, the platform's rules."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest

from scripts.extension import command, repository, wheels, zips
from scripts.extension.tool import validate
from scripts.extension.wheels import BuildError, Wheel

HERE = wheels.this_platform()
BLENDERS_PYTHONS = {"cp311", "cp313"}


def with_version(folder: Path, version: str) -> Path:
    """A copy of the add-on with another version, and with files that have no place in a zip."""
    shutil.copytree(command.SOURCE, folder)
    manifest = folder / zips.MANIFEST
    text = manifest.read_text().replace(f'\nversion = "{zips.read_manifest(folder)["version"]}"', f'\nversion = "{version}"')
    manifest.write_text(text)
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "__pycache__" / "old.pyc").write_bytes(b"old")
    (folder / ".notes").write_text("private")
    return folder


@pytest.fixture(scope="module")
def zipped(tmp_path_factory) -> Path:
    """The zip for this platform."""
    return zips.build_zip(command.SOURCE, command.LICENCE, tmp_path_factory.mktemp("dist"), HERE, command.CACHE)


# ---- wheels ----------------------------------------------------------------------------------------------------------


def test_every_platform_has_the_same_version_for_each_of_blenders_pythons():
    assert {"linux-x64", "windows-x64", "macos-arm64", "macos-x64"} <= set(wheels.platforms())
    assert len({wheel.requirement.split()[0] for wheel in wheels.pinned()}) == 1
    for platform in wheels.platforms():
        tags = [wheel.tags[:2] for wheel in wheels.pinned() if platform in wheel.platforms]
        assert sorted(tags) == sorted((python, python) for python in BLENDERS_PYTHONS), platform


def wheel_with(folder: Path, text: str) -> Wheel:
    """A tiny wheel in a folder of packages."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toypart-1.0-cp311-cp311-win_amd64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toypart.py", text)
        archive.writestr("toypart-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toypart\nVersion: 1.0\n")
        tag = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: false\nTag: cp311-cp311-win_amd64\n"
        archive.writestr("toypart-1.0.dist-info/WHEEL", tag)
        archive.writestr("toypart-1.0.dist-info/RECORD", "")
    return Wheel(path.name, wheels.digest(path), ("windows-x64",))


def test_a_wheel_for_another_system_is_fetched_once_and_mended_if_damaged(tmp_path, monkeypatch):
    wheel = wheel_with(tmp_path / "index", "A = 1\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", (tmp_path / "index").as_uri())
    cached = wheels.fetch(wheel, tmp_path / "cache")
    assert wheels.digest(cached) == wheel.sha256
    cached.write_bytes(b"cut off")
    assert wheels.digest(wheels.fetch(wheel, tmp_path / "cache")) == wheel.sha256
    shutil.rmtree(tmp_path / "index")
    assert wheels.fetch(wheel, tmp_path / "cache") == cached, "what is there is not fetched again"


def test_a_wheel_that_is_not_the_pinned_one_is_refused(tmp_path, monkeypatch):
    wheel = wheel_with(tmp_path / "index", "A = 1\n")
    wheel_with(tmp_path / "index", "A = 2\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", (tmp_path / "index").as_uri())
    with pytest.raises(BuildError, match="toypart-1.0-cp311-cp311-win_amd64.whl could not be fetched") as caught:
        wheels.fetch(wheel, tmp_path / "cache")
    assert "\n" not in str(caught.value)


# ---- the zip ---------------------------------------------------------------------------------------------------------


def test_the_zip_holds_the_add_on_its_licences_and_the_wheels_as_the_index_has_them(zipped):
    version = zips.read_manifest(command.SOURCE)["version"]
    assert zipped.name == f"teamwork-{version}-{HERE.replace('-', '_')}.zip"
    with zipfile.ZipFile(zipped) as archive:
        names = set(archive.namelist())
        assert archive.read("LICENSE") == command.LICENCE.read_bytes()
        manifest = tomllib.loads(archive.read(zips.MANIFEST).decode())
        for wheel in (each for each in wheels.pinned() if HERE in each.platforms):
            path = archive.extract(f"wheels/{wheel.file}", zipped.parent)
            assert wheels.digest(Path(path)) == wheel.sha256
            assert any("license" in name.lower() for name in zipfile.ZipFile(path).namelist())
    sources = {str(path.relative_to(command.SOURCE)) for path in command.SOURCE.rglob("*") if path.is_file()}
    sources = {name for name in sources if "__pycache__" not in name}
    assert {name for name in names if not name.startswith("wheels/")} == sources | {"LICENSE"}
    assert manifest["platforms"] == [HERE] and len(manifest["wheels"]) == len(BLENDERS_PYTHONS)
    assert all(name.removeprefix("./") in names for name in manifest["wheels"])


def test_equal_input_gives_equal_bytes(tmp_path, zipped):
    copy = with_version(tmp_path / "addon", zips.read_manifest(command.SOURCE)["version"])
    for path in copy.rglob("*"):
        os.utime(path, (1e9, 1e9))
    (copy / "operators").chmod(0o700)
    again = zips.build_zip(copy, command.LICENCE, tmp_path / "dist", HERE, command.CACHE)
    assert again.read_bytes() == zipped.read_bytes()


def test_a_zip_without_wheels_is_for_every_platform(tmp_path):
    made = zips.build_zip(command.SOURCE, command.LICENCE, tmp_path)
    with zipfile.ZipFile(made) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".whl")]
        manifest = tomllib.loads(archive.read(zips.MANIFEST).decode())
    assert "platforms" not in manifest and "wheels" not in manifest


def test_what_blender_refuses_is_a_sentence(tmp_path):
    source = with_version(tmp_path / "addon", "1.2.3")
    manifest = source / zips.MANIFEST
    manifest.write_text(manifest.read_text().replace('tags = ["Material"', 'tags = ["Wonder"'))
    with pytest.raises(BuildError, match="Blender's own check refuses") as caught:
        zips.build_zip(source, command.LICENCE, tmp_path / "dist")
    assert "\n" not in str(caught.value) and "Wonder" in str(caught.value)
    manifest.write_text("no manifest")
    with pytest.raises(BuildError, match="cannot be read"):
        zips.build_zip(source, command.LICENCE, tmp_path / "dist")


# ---- the repository --------------------------------------------------------------------------------------------------


def test_the_repository_lists_the_newest_of_each_platform_with_its_hash(tmp_path, zipped):
    built = [zipped]
    for version in ("0.9.0", "0.10.0"):
        source = with_version(tmp_path / version, version)
        built.append(zips.build_zip(source, command.LICENCE, tmp_path / "dist", HERE, command.CACHE))
    index = repository.write_repository(built, tmp_path / "site")
    [entry] = json.loads(index.read_text())["data"]
    assert entry["version"] == "0.10.0" and entry["platforms"] == [HERE]
    assert entry["python_versions"] == ["3.11", "3.13"]
    archive = index.parent / entry["archive_url"]
    assert entry["archive_hash"] == f"sha256:{wheels.digest(archive)}" and entry["archive_size"] == archive.stat().st_size
    assert len(list(index.parent.glob("*.zip"))) == 3, "nothing is taken away"
    again = repository.write_repository(built[::-1], tmp_path / "again")
    assert again.read_text() == index.read_text()


def test_a_repository_with_a_broken_zip_is_refused(tmp_path):
    (tmp_path / "teamwork-0.0.1.zip").write_bytes(b"PK cut off")
    with pytest.raises(BuildError, match="cannot read teamwork-0.0.1.zip"):
        repository.write_repository([], tmp_path)


def test_the_command_builds_what_it_is_asked_for(tmp_path, capsys):
    words = ["--out", str(tmp_path / "dist"), "--repository", str(tmp_path / "site"), "--platform", HERE]
    assert command.build(command.arguments().parse_args(words)) == 0
    [made] = (tmp_path / "dist").iterdir()
    said = capsys.readouterr().out
    assert str(made) in said and (tmp_path / "site" / "index.json").as_uri() in said
    validate(made)
    carried = [name for name in zipfile.ZipFile(made).namelist() if name.startswith("bundled/")]
    assert [Path(name).name for name in carried] == ["constraints.txt", "teamwork_blender-0.1.0-py3-none-any.whl"]
    with zipfile.ZipFile(made).open(carried[1]) as wheel:
        inside = zipfile.ZipFile(wheel).namelist()
    assert {"engine_server/server.py", "blender_addon/wire/PROTOCOL.md", "engine_server/bundled/nano/team.safetensors"} <= set(inside)
    assert not [name for name in inside if name.startswith("tests/") or "__pycache__" in name]


def test_the_command_says_what_is_in_the_way(tmp_path, capsys):
    (tmp_path / "dist").write_text("in the way")
    assert command.build(command.arguments().parse_args(["--out", str(tmp_path / "dist"), "--without-wheels", "--without-engine"])) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "choose another folder" in said
