# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender -b --python prepare.py -- job.json`: installs the extension for good, and saves the scene that is rendered next."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from scripts.window.inside.render import moving_scene, write_frames_to  # noqa: E402
from scripts.window.inside.stage import ADDON, install_extension  # noqa: E402


def main() -> None:
    """The preferences are saved, too: the Blender that renders has nothing but its file and these."""
    job = json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text("utf-8"))
    install_extension(job)
    bpy.context.preferences.addons[ADDON].preferences.engine_python = job["python"]
    bpy.ops.wm.save_userpref()
    moving_scene()
    write_frames_to(Path(job["frames"]))
    bpy.ops.wm.save_as_mainfile(filepath=job["blend"])


main()
