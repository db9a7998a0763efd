# SPDX-License-Identifier: GPL-3.0-or-later
"""What the set-up of the engine decides: from which code, with which Python, with which PyTorch, and what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.addon.wheels import engine_wheel, make_wheel, script

PYTHON = Path(sys.executable).resolve()


def test_uv_gives_a_python_where_there_is_none(tmp_path, monkeypatch):
    from blender_addon.environment import pythons

    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(pythons, "search_path", lambda: str(empty))
    asked = []
    found = tmp_path / "found"
    script(empty / "uv", f'#!/bin/sh\ntest "$2" = find && test -e {found} && echo {PYTHON}\n')

    def run(command: list[str]) -> int:
        asked.append(command[1:])
        found.touch()
        return 0

    assert pythons.find("", None, run) == PYTHON and asked == [["python", "install", "3.12"]]
    assert pythons.find("", None, run) == PYTHON and len(asked) == 1, "it has one now"


def test_where_the_engine_comes_from(tmp_path, monkeypatch):
    from blender_addon.environment import SetupError, source

    assert source.find().what == str(Path(__file__).resolve().parents[2]), "beside the repository"
    addon = tmp_path / "extension"
    addon.mkdir()
    monkeypatch.setattr(source, "ADDON", addon)
    with pytest.raises(SetupError, match="came without its engine"):
        source.find()
    wheel = engine_wheel(addon / "bundled")
    (addon / "bundled" / "constraints.txt").write_text("torch==2.13.0\n")
    found = source.find()
    assert found.requirement == f"teamwork-blender[engine] @ {wheel.as_uri()}" and found.constraints.name == "constraints.txt"
    assert source.find("teamwork-blender[engine]==1.0").requirement == "teamwork-blender[engine]==1.0"
    address = "https://example.org/files/teamwork_blender-0.1.0-py3-none-any.whl"
    assert source.find(address).requirement == f"teamwork-blender[engine] @ {address}"
    with pytest.raises(SetupError, match="There is no"):
        source.find("C:\\wheels\\engine")
    for wrong in (str(tmp_path / "none.whl"), str(tmp_path), str(make_text(tmp_path))):
        with pytest.raises(SetupError, match=str(tmp_path)):
            source.find(wrong)


def make_text(folder: Path) -> Path:
    """A file that is no wheel."""
    (folder / "text.txt").write_text("This is a text.")
    return folder / "text.txt"


def test_the_build_of_pytorch_fits_the_machine():
    from blender_addon.environment import SetupError, hardware

    lines = "NVIDIA H200, 9.0, 580.65.06\nNVIDIA GeForce RTX 2060, 7.5, 580.65.06\n[N/A]\n"
    gpus = hardware.parse(lines)
    assert [gpu.capability for gpu in gpus] == [9.0, 7.5] and hardware.cuda_build(gpus) is hardware.CUDA_13
    assert hardware.cuda_build([hardware.Gpu("NVIDIA GeForce GTX 1080", 6.1, 580)]) is hardware.CUDA_12
    assert hardware.cuda_build([hardware.Gpu("NVIDIA A100", 8.0, 535)]) is hardware.CUDA_12
    assert "update it to 580" in hardware.driver_problem([hardware.Gpu("NVIDIA GeForce RTX 5090", 12.0, 570)])
    assert "update it to 525" in hardware.driver_problem([hardware.Gpu("Tesla K80", 3.7, 470)])
    assert not hardware.driver_problem(gpus) and "No NVIDIA GPU" in hardware.driver_problem([])
    if sys.platform == "linux":
        with pytest.raises(SetupError, match="no Apple GPU"):
            hardware.choose("mps")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("3 12 True win-amd64 C:\\Program Files\\WindowsApps\\PythonSoftwareFoundation.Python.3.12_x64", "Microsoft Store"),
        ("3 12 True macosx-10.15-x86_64 /usr/local/Cellar/python", "is for Intel Macs"),
        ("3 12 True macosx-11.0-arm64 /opt/homebrew", ""),
        ("3 12 True macosx-10.9-universal2 /Library/Frameworks", ""),
        ("3 12 False win32 C:\\Python", "32 bit"),
        ("3 12 True win-amd64 D:\\Jos\u00e9\\Python 312", ""),
    ],
)
def test_a_python_that_the_engine_cannot_use_is_told_by_what_it_says(tmp_path, monkeypatch, answer, problem):
    from blender_addon.environment import pythons

    monkeypatch.setattr(pythons.platform, "machine", lambda: "arm64")
    (tmp_path / "answer").write_text(answer, "utf-8")
    python = script(tmp_path / "python", f"#!/bin/sh\ncat {tmp_path}/answer\n")
    verdict = pythons.judge(Path(python))
    assert problem in verdict.problem and bool(verdict.problem) == bool(problem)


def test_words_in_another_encoding_are_no_fault_of_ours(tmp_path):
    from blender_addon.environment import pythons

    python = script(tmp_path / "python", "#!/bin/sh\nprintf '3 12 True win-amd64 D:/Jos\\351'\n")
    assert pythons.judge(Path(python)).problem == ""


def test_the_python_of_macos_itself_is_not_asked(monkeypatch):
    from blender_addon.environment import pythons

    assert pythons._without_stubs("/usr/bin:/usr/local/bin:/usr/bin/") == "/usr/local/bin"
    monkeypatch.setattr(pythons.sys, "platform", "darwin")
    monkeypatch.setattr(pythons, "search_path", lambda: "/usr/bin")
    assert list(pythons.candidates()) == []


def test_an_intel_mac_is_told_what_is_left(monkeypatch):
    from blender_addon.environment import SetupError, hardware

    monkeypatch.setattr(hardware.sys, "platform", "darwin")
    monkeypatch.setattr(hardware.platform, "machine", lambda: "x86_64")
    with pytest.raises(SetupError, match="not made for Intel Macs any more: give the address"):
        hardware.choose("cpu")
    monkeypatch.setattr(hardware.platform, "machine", lambda: "arm64")
    assert hardware.choose() is hardware.METAL


def test_a_certificate_is_told_from_a_network_that_is_down():
    from blender_addon.environment.pip import PipTalk

    talk = PipTalk()
    talk.hear("Max retries exceeded with url: /simple/torch/ (Caused by SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))")
    assert "certificate is not trusted" in talk.cause()


def test_what_pip_says_becomes_a_line():
    from blender_addon.environment.pip import PipTalk

    talk = PipTalk()
    assert not talk.hear("Collecting torch==2.13.0") and talk.line == "Collecting torch"
    talk.hear("  Downloading https://host/torch-2.13.0%2Bcpu-cp311-cp311-linux_x86_64.whl (200.0 MB)")
    assert talk.hear("Progress 50000000 of 200000000")
    assert talk.line.endswith("50 of 200 MB") and talk.bytes == 50_000_000
    talk.hear("Collecting numpy")
    talk.hear("Progress 1000000 of 2000000")
    assert talk.bytes == 51_000_000, "it only grows"
    for said, told in (
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: Retrying after connection broken by 'NewConnectionError('", "cannot be reached"),
        ("ERROR: something odd.", "something odd"),
    ):
        other = PipTalk()
        other.hear(said)
        assert told in other.cause()


def test_the_wheels_of_these_tests_are_wheels(tmp_path):
    assert make_wheel(tmp_path, "some_thing", "1.0", {"some.py": ""}).name == "some_thing-1.0-py3-none-any.whl"
