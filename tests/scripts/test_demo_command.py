# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects what the demo says when Blender dies on it."""

import sys

import pytest

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
