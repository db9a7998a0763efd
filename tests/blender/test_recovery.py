# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of a Blender that was closed or killed come back to the next one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import bpy
import pytest

from tests.blender.operating import (  # noqa: F401 (fixtures)
    ENGINE_PYTHON,
    addon,
    drain_until,
    empty,
    models,
    photo,
)
from tests.engine.conftest import ROOT, Engine, wait_for

EARLIER = """
import os, sys
from tests.blender.installed import as_the_tests_have_it
as_the_tests_have_it()
import bpy
import blender_addon
from blender_addon import images, jobs, landing
from blender_addon.wire import ChannelImage
from functools import partial
blend, photo, how = sys.argv[1:]
if blend:
    bpy.ops.wm.save_as_mainfile(filepath=blend)
blender_addon.register()
picture = ChannelImage(images.read(images.load(photo)), "scene-linear")
land = partial(landing.land_material, name="wall", source="wall.png")
job = jobs.start("material", "tiny", {"image": picture}, ("albedo",), {"seed": 3}, "Material from wall", land)
jobs.drain()
while not jobs.LINK.welcome or jobs.LINK.session._preparing or jobs.LINK.session._orders.qsize():
    jobs.drain()
import time
time.sleep(1.0)
if how == "closed":
    blender_addon.unregister()
print("SENT", job.job_id, flush=True)
os._exit(0 if how == "closed" else 9)
"""
"""An earlier Blender, which sends a job and is gone before it has the result."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory, models, addon):  # noqa: F811
    """An engine of the user's that no Blender has started, and that outlives them."""
    made = Engine(Path(os.environ["TEAMWORK_HOME"]), models)
    yield made
    made.stop()


def earlier(blend: str, photo: Path, how: str) -> str:  # noqa: F811
    """Let an earlier Blender send a job; gives its name."""
    words = [sys.executable, "-c", EARLIER, blend, str(photo), how]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("SENT ")), "")
    assert line, done.stdout + done.stderr
    return line.removeprefix("SENT ")


def connect() -> None:
    """Connect anew."""
    from blender_addon.engine import LINK

    bpy.ops.teamwork.disconnect()
    LINK.get()


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_the_file_that_a_job_was_for_gets_its_result(engine, photo, tmp_path, how):  # noqa: F811
    from blender_addon import jobs

    blend = str(tmp_path / "scene.blend")
    job_id = earlier(blend, photo, how)
    bpy.ops.wm.open_mainfile(filepath=blend)
    connect()
    drain_until(lambda: any(job.job_id == job_id and job.state == jobs.DONE for job in jobs.JOBS))
    job = next(job for job in jobs.JOBS if job.job_id == job_id)
    assert job.line.startswith("From earlier: Made the material wall") and job.title == "Material from wall"
    material = bpy.data.materials["wall"]
    assert material.use_fake_user and material["teamwork_seed"] == 3 and material["teamwork_job"] == job_id
    with engine.client() as client:
        wait_for(lambda: job_id not in [each.job_id for each in client.jobs()])
    assert not list((engine.home / "jobs").rglob("*.json"))


def test_results_for_other_files_are_offered(engine, photo):  # noqa: F811
    from blender_addon import recovery

    first, second = earlier("", photo, "killed"), earlier("", photo, "closed")
    connect()
    drain_until(lambda: recovery.State.offered)
    assert {entry.job_id for entry in recovery.State.offered} == {first, second}
    assert not bpy.data.materials
    assert bpy.ops.teamwork.fetch_results() == {"FINISHED"}
    assert sorted(each.name for each in bpy.data.materials) == ["wall", "wall.001"]
    assert not recovery.State.offered and not bpy.ops.teamwork.fetch_results.poll()


def test_offered_results_can_be_forgotten(engine, photo):  # noqa: F811
    from blender_addon import recovery
    from blender_addon.engine import LINK

    job_id = earlier("", photo, "closed")
    connect()
    drain_until(lambda: recovery.State.offered)
    bpy.ops.teamwork.forget_results()
    with engine.client() as client:
        wait_for(lambda: job_id not in [each.job_id for each in client.jobs()])
    connect()
    drain_until(lambda: LINK.welcome)
    assert not recovery.State.offered and not bpy.data.materials


def test_word_of_a_job_that_the_engine_does_not_know_is_forgotten(engine):
    from blender_addon import recovery
    from blender_addon.ledger import Entry
    from blender_addon.wire import Credentials

    key = Credentials.local().engine_public
    recovery.ledger().note(Entry("lost", key, "", "Lost", "material", "tiny", "lost", ""))
    recovery.ledger().note(Entry("elsewhere", "another key", "", "Elsewhere", "material", "tiny", "elsewhere", ""))
    connect()
    noted = engine.home / "jobs"
    drain_until(lambda: [path.stem for path in noted.rglob("*.json")] == ["elsewhere"])
    assert json.loads(next(noted.rglob("*.json")).read_text())["title"] == "Elsewhere"
