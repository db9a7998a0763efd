# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects what the demo says when Blender dies on it."""

import sys

import pytest
from PIL import Image

from scripts import demo_command


@pytest.mark.skipif(sys.platform == "win32", reason="programs are not ended by signals there")
def test_a_crash_of_blender_gets_a_sentence(tmp_path, capsys):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    assert demo_command._run(program, []) == 1
    assert "Blender crashed (signal 11); run the same command again" in capsys.readouterr().err


def test_what_the_demo_says_itself_is_its_answer(tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexit 2\n")
    program.chmod(0o755)
    assert demo_command._run(program, []) == 2


@pytest.mark.parametrize(("content", "what"), [(b"text", "not an image"), (b"", "empty")])
def test_what_is_no_photo_is_refused_before_anything_is_set_up(tmp_path, monkeypatch, capsys, content, what):
    (tmp_path / "team.txt").write_bytes(content)
    monkeypatch.setattr(demo_command.environment, "guarded", lambda work: pytest.fail("set up"))
    monkeypatch.setattr(sys, "argv", ["demo.py", "--photo", str(tmp_path / "team.txt")])
    assert demo_command.main() == 2
    assert capsys.readouterr().err == f"{tmp_path / 'team.txt'} is {what}: give a photo as JPEG, PNG or EXR.\n"


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tiff", "webp", "tga", "jp2"])
def test_photos_of_every_kind_are_pictures(tmp_path, kind):
    Image.new("RGB", (16, 16)).save(tmp_path / f"photo.{kind}")
    assert demo_command.is_picture(tmp_path / f"photo.{kind}")
