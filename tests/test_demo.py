# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's demo command, run as a newcomer would, into a temporary folder; and what it makes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MAPS = ("albedo", "roughness", "metalness", "normals", "height")
REOPEN = """
import bpy, json, sys
bpy.ops.wm.open_mainfile(filepath=sys.argv[-1])
material = next(m for m in bpy.data.materials if "teamwork_model" in m)
group = next(n.node_tree for n in material.node_tree.nodes if n.type == "GROUP")
links = [(l.from_node.type, l.to_socket.name) for l in group.links]
nodes = [n for n in group.nodes if n.type == "TEX_IMAGE"]
images = [(n.image.name, bool(n.image.packed_file), list(n.image.size)) for n in nodes]
print("FACTS" + json.dumps({"links": links, "images": images}))
"""


def demo(*words: str) -> subprocess.CompletedProcess:
    """The command, with small settings."""
    command = [sys.executable, "scripts/demo.py", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One run: its folder and what it printed."""
    out = tmp_path_factory.mktemp("demo") / "out"
    ended = demo("--out", str(out), "--size", "96", "--samples", "16")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return out, ended.stdout


@pytest.mark.parametrize("name", MAPS)
def test_the_maps_are_pictures_with_something_on_them(made, name):
    picture = np.asarray(Image.open(made[0] / f"{name}.png"), np.float32)
    assert picture.shape[:2] == (512, 512) and picture.std() > 0


def test_normals_and_height_have_sixteen_bits(made):
    assert Image.open(made[0] / "height.png").mode.startswith("I")
    assert (made[0] / "normals.png").read_bytes()[24] == 16


@pytest.mark.parametrize(
    ("name", "size"),
    [("material_preview", (192, 192)), ("reference", (96, 96)), ("neural_shading", (96, 96)), ("noisy", (96, 96))],
)
def test_the_pictures_are_there(made, name, size):
    with Image.open(made[0] / f"{name}.png") as picture:
        assert picture.size == size and np.asarray(picture).std() > 5


def test_the_shading_is_nearer_to_the_reference_than_what_it_was_made_from(made):
    reference, shaded, noisy = (
        np.asarray(Image.open(made[0] / f"{name}.png").convert("RGB"), np.float64)
        for name in ("reference", "neural_shading", "noisy")
    )
    assert np.mean((shaded - reference) ** 2) < np.mean((noisy - reference) ** 2)


def test_the_sheet_shows_every_channel_beside_blenders(made):
    width, height = Image.open(made[0] / "decomposition.png").size
    assert width >= 7 * 96 and height >= 2 * 96


def test_the_blend_file_holds_the_whole_material(made):
    command = [sys.executable, "-c", REOPEN, str(made[0] / "material.blend")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    facts = json.loads(next(line for line in said.splitlines() if line.startswith("FACTS"))[5:])
    assert {("TEX_IMAGE", "Base Color"), ("NORMAL_MAP", "Normal")} <= {tuple(link) for link in facts["links"]}
    assert len(facts["images"]) == 5 and all(packed and size == [512, 512] for _, packed, size in facts["images"])


def test_the_table_tells_what_where_how_long_and_how_far_off(made):
    out, said = made
    assert str(out) in said and "Seconds" in said
    for words in ("material.blend", "neural_shading.png", "photo -> material", "PSNR", "degrees", "RMSE"):
        assert words in said


def test_the_engine_is_gone_afterwards(made):
    assert not (made[0] / ".engine" / "engine.json").exists()


@pytest.mark.parametrize(("content", "words"), [(None, "no file"), (b"", "empty"), (b"words", "not an image")])
def test_a_bad_photo_is_one_sentence(tmp_path, content, words):
    photo = tmp_path / "photo.jpg"
    if content is not None:
        photo.write_bytes(content)
    ended = demo("--photo", str(photo), "--out", str(tmp_path / "out"))
    assert ended.returncode == 2 and words in ended.stderr and "Traceback" not in ended.stderr + ended.stdout


def test_ctrl_c_ends_everything_without_a_traceback(tmp_path):
    command = [sys.executable, "scripts/demo.py", "--out", str(tmp_path / "out")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes) as running:
        for line in running.stdout:
            if line.startswith("photo -> material"):
                os.killpg(running.pid, signal.SIGINT)
                break
        said = running.communicate(timeout=60)[0]
    assert running.returncode == 130 and said.strip().endswith("Stopped.") and "Traceback" not in said
    record = tmp_path / "out" / ".engine" / "engine.json"
    for _ in range(300):
        if not record.exists():
            break
        time.sleep(0.1)
    assert not record.exists(), "the engine has ended, too"
