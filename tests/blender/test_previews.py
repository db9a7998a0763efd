# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a material: what they show, what they leave behind, and that they are safe beside the add-on's threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

from scripts.cycles import rendering
from scripts.cycles.preview import render_material_preview

ROOT = Path(__file__).resolve().parents[2]


def contents() -> dict[str, set[str]]:
    kinds = ("objects", "meshes", "materials", "images", "worlds", "scenes", "lights", "cameras")
    return {kind: {thing.name for thing in getattr(bpy.data, kind)} for kind in kinds}


def test_a_preview_shows_the_material_and_leaves_nothing_behind(tmp_path: Path) -> None:
    rendering.empty_scene()
    red = bpy.data.materials.new("red")
    principled = rendering.node_of(rendering.use_nodes(red), "BSDF_PRINCIPLED")
    principled.inputs["Base Color"].default_value = (0.8, 0.02, 0.02, 1.0)
    before, current = contents(), bpy.context.scene
    path = render_material_preview(red, tmp_path / "new" / "red.png", size=48, samples=4)
    pixels = np.asarray(Image.open(path)).astype(int)
    assert pixels.shape == (48, 48, 3)
    assert pixels[28, 14, 0] > 2 * pixels[28, 14, 1]
    after = contents()
    after["images"] -= {"Render Result"}
    assert after == before and bpy.context.scene == current


PREVIEWS = """
import sys, threading, time
import bpy
from scripts.cycles.preview import render_material_preview

enough = threading.Event()

def count():
    while not enough.is_set():
        for _ in range(200):
            pass
        time.sleep(0)

thread = threading.Thread(target=count, daemon=True)
thread.start()
material = bpy.data.materials.new("some")
if material.node_tree is None:
    material.use_nodes = True
for _ in range(8):
    render_material_preview(material, sys.argv[1], size=24, samples=1)
enough.set()  # leaving Python beside a thread that runs is another matter
thread.join()
"""


def test_previews_are_safe_beside_a_thread_of_python(tmp_path: Path) -> None:
    """In a process of its own: what went wrong here was a crash of Blender, in every other run of this."""
    ran = subprocess.run([sys.executable, "-c", PREVIEWS, str(tmp_path / "a.png")], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-500:]


def test_a_preview_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no nodes"):
        render_material_preview(None, tmp_path / "none.png")
    assert not list(tmp_path.iterdir())
