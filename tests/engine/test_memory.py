# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory that runs out, for real: a second attempt in parts, what would fit, and which models stay warm."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys

import diffusers
import pytest

from blender_addon.wire import Submit
from engine_server.commands.serve import size
from engine_server.needs import Need, advice, need_of
from engine_server.runner import THRIFTY, TaskRunner
from engine_server.teamwork import load_team
from engine_server.warm import size_of
from tests.core.tiny import tiny_adapter

from .conftest import ROOT, picture, submit

MIB = 1 << 20


@pytest.fixture(scope="module")
def wide(models, tmp_path_factory):
    """The tiny team with a VAE that takes some memory."""
    folder = tmp_path_factory.mktemp("wide") / "wide"
    shutil.copytree(models / "tiny", folder)
    config = dict(diffusers.AutoencoderKL.load_config(folder / "base", subfolder="vae"))
    diffusers.AutoencoderKL.from_config(config | {"block_out_channels": (64, 64)}).save_pretrained(folder / "base" / "vae")
    return folder


LIMITED = """
import sys, numpy as np
from blender_addon.wire import ChannelImage, Submit
from engine_server.device import limit_memory, taken
from engine_server.runner import TaskRunner
model, side, room, outputs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), tuple(sys.argv[4:])
runner = TaskRunner()
job = lambda side: Submit("j", "material", model, {"image": ChannelImage(np.full((side, side, 3), 0.5, np.float32), "scene-linear")},
                          outputs, {"size": side, "steps": 1})
runner.run(job(32), lambda *step: None)
limit_memory("cpu", taken() + room)
for each in (side, 32):
    try:
        made, info = runner.run(job(each), lambda *step: None)
        print("done", each, info.get("memory"), sorted(made), flush=True)
    except Exception as error:
        print(type(error).__name__, getattr(error, "code", ""), error, flush=True)
"""


def limited(model, side: int, room: int, *outputs: str) -> list[str]:
    """What a process says that runs a job of that size with so many MiB to spare, and a small one after it."""
    command = [sys.executable, "-c", LIMITED, str(model), str(side), str(room * MIB), *outputs]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}  # a thread that finds no memory to start in ends the whole process
    ended = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process to a limit of its memory")


@linux
def test_a_job_that_runs_out_of_memory_is_done_in_parts_and_says_so(wide):
    first, second = limited(wide, 256, 60, "albedo", "roughness")
    assert first == f"done 256 {THRIFTY} ['albedo', 'roughness']"
    assert second == "done 32 None ['albedo', 'roughness']"


@linux
@pytest.mark.parametrize("room", [20, 60])  # with 20 MiB memory runs out before the team has started, while its pictures are prepared
def test_a_job_that_fits_in_no_way_says_what_would_and_the_next_one_runs(wide, room):
    first, second = limited(wide, 1024, room, "albedo", "roughness", "normals", "metalness")
    assert first.startswith("TaskError out-of-memory The task material ran out of memory with 5 channels of 1024 x 1024 pixels")
    assert " MB are needed beside the model, " in first and first.endswith(".")
    assert second.startswith("done 32")


def test_the_sentence_names_a_size_and_a_number_of_channels_that_fit():
    need = Need(fixed=1e8, network=1000, vae=3000, at_once=2**21, tile=0)
    free = 2_000_000_000
    told = advice(need, 8, 1024, 2048, free)
    side, channels = need.largest_side(8, free, 0.5), need.most_rows(1024 * 2048, free)
    assert told.endswith(f"a size of {side} pixels would fit.") and channels == 0
    assert need.bytes(8, side * side // 2, thrifty=True) <= 0.9 * free < need.bytes(8, (side + 64) * (side // 2 + 32), thrifty=True)
    told = advice(need, 8, 512, 512, free)
    channels = need.most_rows(512 * 512, free)
    assert f"or {channels} channels at once would fit" in told and 2 <= channels < 8
    assert "use a smaller model" in advice(need, 8, 512, 512, 50_000_000) and "fewer channels" in advice(None, 8, 1, 1, 0)


def test_what_is_needed_grows_with_channels_and_pixels_and_shrinks_in_parts(wide):
    need = need_of(load_team(str(wide)))
    assert need.bytes(4, 256**2) > need.bytes(2, 256**2) > need.bytes(2, 128**2) > 0
    assert need.bytes(4, 1024**2, thrifty=True) < need.bytes(4, 1024**2)
    assert 50e6 < need.bytes(3, 256**2) < 500e6  # with 150 MB to spare this run fails, with 300 it does not
    assert need_of(load_team("nano")) is not None


def run(runner: TaskRunner, folder) -> None:
    runner.run(Submit("j", "material", str(folder), {"image": picture()}, ("albedo",), {"steps": 1}), lambda *step: None)


def test_models_stay_warm_within_the_budget_and_the_least_recently_used_goes_first(models, tmp_path):
    folders = {name: tmp_path / name for name in "abc"}
    for folder in folders.values():
        shutil.copytree(models / "few", folder)
    one = size_of(load_team(str(models / "few")))
    runner = TaskRunner(warm_bytes=2 * one)
    seen = []
    for name in "abacbb":
        run(runner, folders[name])
        seen.append("".join(each[-1] for each in runner.warm.names))
        assert runner.warm.size <= 2 * one
    assert seen == ["a", "ab", "ba", "ac", "cb", "cb"]
    runner.unload()
    assert runner.warm.names == () and runner.warm.size == 0


def test_a_model_whose_files_have_changed_is_loaded_anew(models, tmp_path):
    folder, runner = tmp_path / "mine", TaskRunner()
    shutil.copytree(models / "few", folder)
    run(runner, folder)
    (first,) = runner.warm.teams
    run(runner, folder)
    assert runner.warm.teams == [first]
    tiny_adapter(folder / "base", folder / "new", scale=0.3, teammates=("image.in", "albedo.out", "normals.out"))
    (folder / "new").replace(folder / "team.safetensors")
    run(runner, folder)
    (second,) = runner.warm.teams
    assert second.fingerprint != first.fingerprint and runner.warm.names == (str(folder),)


def test_a_model_above_the_budget_runs_alone(models):
    runner = TaskRunner(warm_bytes=1)
    for name in ("tiny", "few", "tiny"):
        run(runner, models / name)
        assert len(runner.warm) == 1 and runner.warm.names == (str(models / name),)


@pytest.mark.parametrize(("text", "count"), [("2000", 2000), ("512M", 512 << 20), ("1.5g", 3 << 29), ("8 GiB", 8 << 30), ("1TB", 1 << 40)])
def test_sizes_in_words(text, count):
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "much", "-1G", "8X"])
def test_what_is_no_size_is_one_sentence(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a size"):
        size(text)


def test_several_devices_work_at_the_same_time(launch):
    with launch("--device", "cpu,cpu").client() as client:
        client.submit(submit("long", steps=1000, seconds_per_step=0.05))
        assert client.run(submit("short"), timeout=60).outputs
        assert [job.state for job in client.jobs() if job.job_id == "long"] == ["running"]
        client.cancel("long")
