# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on with an engine that its first job starts, and a tiny team; what operators say; jobs as in a window."""

from __future__ import annotations

import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

import blender_addon
from blender_addon.wire import ChannelImage
from tests.engine.conftest import ENGINE_PYTHON, models

__all__ = [
    "addon",
    "cube",
    "drain_until",
    "echo_job",
    "empty",
    "ENGINE_PYTHON",
    "made_by",
    "models",
    "opened",
    "photo",
    "refused",
    "running_job",
    "sent_by",
]

LONG = {"steps": 10_000, "seconds_per_step": 0.05}


@pytest.fixture(scope="module", autouse=True)
def addon(tmp_path_factory, models):
    """The add-on, registered as a user has it, with a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEAMWORK_HOME", str(tmp_path_factory.mktemp("blender") / "home"))
        patch.setenv("TEAMWORK_MODELS", str(models))
        patch.setenv("TEAMWORK_ENGINE_PYTHON", ENGINE_PYTHON)
        blender_addon.register()
        yield
        blender_addon.unregister()


@pytest.fixture(autouse=True)
def empty():
    """A new file for each test."""
    bpy.ops.wm.read_factory_settings(use_empty=True)


@pytest.fixture
def photo(tmp_path) -> Path:
    """A seeded photo, 24 x 16."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wall.png")
    return tmp_path / "wall.png"


@pytest.fixture
def cube() -> bpy.types.Object:
    """An object without a material, active."""
    bpy.ops.mesh.primitive_cube_add()
    return bpy.context.object


def refused(operator, **settings) -> str:
    """The one sentence of an operator that cannot do what it is asked for."""
    with pytest.raises(RuntimeError) as caught:
        operator(**settings)
    text = str(caught.value).strip()
    assert text.startswith("Error: ") and "\n" not in text and "Traceback" not in text
    assert "fault of Teamwork" not in text
    return text.removeprefix("Error: ")


def echo_job(land=lambda result, job: "Landed", **options):
    """A job that gives a grey picture back, sent as in a window: nothing waits for it."""
    from blender_addon import jobs

    picture = ChannelImage(np.full((4, 6, 3), 0.5, np.float32), "scene-linear")
    return jobs.start("echo", "", {"image": picture}, (), options, "Echo", land)


def drain_until(done, seconds: float = 30.0) -> None:
    """What the timer does in a window, until something is the case."""
    from blender_addon import jobs

    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        jobs.drain()
        time.sleep(0.01)
    assert done()


def running_job(**options):
    """An echo job that has begun and goes on for minutes."""
    job = echo_job(**(LONG | options))
    drain_until(lambda: job.factor > 0.0)
    return job


def made_by(**settings) -> bpy.types.Material:
    """The newest material of the operator."""
    known = set(bpy.data.materials)
    bpy.ops.teamwork.material_from_image(**({"model": "tiny"} | settings))
    [material] = set(bpy.data.materials) - known
    return material


def opened(folder: Path, name: str, array: np.ndarray) -> str:
    """A picture's file, opened as an artist would: Blender takes it for colour."""
    from blender_addon import images

    Image.fromarray(array).save(folder / name)
    return images.load(folder / name).name


def sent_by(monkeypatch, **settings) -> list:
    """Sent, and not waited for: gives the jobs."""
    from blender_addon import jobs

    known = list(jobs.JOBS)
    with monkeypatch.context() as patch:
        patch.setattr("blender_addon.operators.base.TaskOperator._wait", lambda self, sent: {"FINISHED"})
        bpy.ops.teamwork.material_from_image(**({"model": "tiny"} | settings))
    return [job for job in jobs.JOBS if job not in known]
