# SPDX-License-Identifier: GPL-3.0-or-later
"""Real engines, as processes of their own, and clients of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from blender_addon.wire import ENDS, ChannelImage, Client, Credentials, Message, Submit, read_engine_record

ENGINE_PYTHON = os.environ.get("TEAMWORK_TEST_ENGINE_PYTHON", sys.executable)
"""The Python that has torch; another one than this where a Blender has an environment of its own."""
MAKE_MODELS = "import sys, pathlib, tests.engine.conftest as c; c.make_models(pathlib.Path(sys.argv[1]))"
ROOT = Path(__file__).resolve().parents[2]
CHANNELS = ("image", "albedo", "normals", "roughness", "metalness", "depth")
ALL = tuple(f"{c}.in" for c in CHANNELS) + tuple(f"{c}.out" for c in (*CHANNELS[1:], "diffuseshading", "inverseshading"))

MAKER_TASKS = {"synthesize": {"adapter": "more.safetensors", "steps": 3, "zero_start": False, "solver": "euler"}}


class Engine:
    """A server process with a home of its own."""

    def __init__(self, home: Path, models: Path, *words: str) -> None:
        self.home, self.log = home, home.with_suffix(".log")
        command = [ENGINE_PYTHON, "-m", "engine_server", "serve", "--address", "127.0.0.1:0", "--home", str(home), *words]
        with self.log.open("wb") as log:
            variables = os.environ | {"TEAMWORK_MODELS": str(models), "TEAMWORK_HOME": str(home)}
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=variables)
        self.address = self._ready()

    def _ready(self) -> str:
        for _ in range(3000):
            record = read_engine_record(self.home)
            if record and record.pid == self.process.pid:
                return record.address
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError("the engine did not get ready")

    def client(self, **settings) -> Client:
        """A client with the home's own key."""
        return Client(self.address, Credentials.local(self.home), **settings)

    def stop(self) -> None:
        """End it, without waiting for a job that runs: that is what a second signal is for."""
        self.process.terminate()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """A folder with a tiny random team that has every channel, others with few and with a flash, one that looks at masks, one
    that only answers, and three that are damaged."""
    folder, kept = tmp_path_factory.mktemp("models"), os.environ.get("TEAMWORK_TEST_MODELS", "")
    if kept and Path(kept).exists():
        return shutil.copytree(kept, folder, dirs_exist_ok=True)
    if ENGINE_PYTHON == sys.executable:
        make_models(folder)
    else:
        subprocess.run([ENGINE_PYTHON, "-c", MAKE_MODELS, str(folder)], cwd=ROOT, check=True)
    if kept:
        shutil.copytree(folder, kept)  # the next process takes them from there
    return folder


def make_models(folder: Path) -> None:
    """What `models` gives. Needs torch."""
    from safetensors.torch import load_file, save_file

    from tests.core.tiny import tiny_adapter, tiny_base

    base = tiny_base("SD3", folder / "tiny" / "base")
    tiny_adapter(base, folder / "tiny" / "team.safetensors", teammates=ALL)
    (folder / "tiny" / "team.json").write_text('{"native_size": 16, "default_steps": 2, "licence": "CC0-1.0"}')
    for name in ("few", "flash", "maker", "regressor", "cut", "bare", "stranger"):
        shutil.copytree(folder / "tiny", folder / name)
    tiny_adapter(base, folder / "few" / "team.safetensors", teammates=("image.in", "albedo.out", "normals.out"))
    tiny_adapter(base, folder / "flash" / "team.safetensors", teammates=("image.in", "halfway.in", "albedo.out"))
    tiny_adapter(base, folder / "maker" / "team.safetensors", teammates=(*ALL, "image.out", "mask.in"))
    maker = {"native_size": 16, "default_steps": 1, "zero_start": True, "tasks": MAKER_TASKS}
    (folder / "maker" / "team.json").write_text(json.dumps(maker))
    tiny_adapter(base, folder / "maker" / "more.safetensors", scale=0.2, teammates=(*ALL, "image.out", "mask.in"))
    (folder / "regressor" / "team.json").write_text('{"native_size": 16, "default_steps": 1, "zero_start": true}')
    cut, bare = folder / "cut" / "team.safetensors", folder / "bare" / "team.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    save_file(load_file(bare), bare)  # without its metadata
    with tempfile.TemporaryDirectory() as other:
        tiny_adapter(tiny_base("SD2", Path(other)), folder / "stranger" / "team.safetensors", profile="SD2")


@pytest.fixture
def launch(tmp_path, models):
    """Start engines; they end with the test."""
    started: list[Engine] = []

    def start(*words: str, name: str = "home") -> Engine:
        started.append(Engine(tmp_path / name, models, *words))
        return started[-1]

    yield start
    for engine in started:
        engine.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, models):
    """One engine for the tests of a module that do not harm it."""
    engine = Engine(tmp_path_factory.mktemp("engine") / "home", models)
    yield engine
    engine.stop()


@pytest.fixture
def client(shared):
    """A client of the shared engine."""
    with shared.client() as each:
        yield each


def picture(height: int = 12, width: int = 20, components: int = 3) -> ChannelImage:
    """A seeded picture."""
    return ChannelImage(np.random.default_rng(0).random((height, width, components), np.float32), "scene-linear")


def submit(job_id: str, task: str = "echo", outputs: tuple[str, ...] = (), model: str = "tiny", **options) -> Submit:
    """A job on a picture."""
    return Submit(job_id, task, model, {"image": picture()}, outputs, options)


def until(client: Client, kind: type | tuple[type, ...], job_id: str | None = None, seconds: float = 60.0) -> Message:
    """The next message of a kind, of one job if it is named; others are thrown away."""
    return everything_until(client, kind, job_id, seconds)[-1]


def everything_until(
    client: Client, kind: type | tuple[type, ...], job_id: str | None = None, seconds: float = 60.0
) -> list[Message]:
    """All messages up to the next of a kind."""
    seen: list[Message] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        message = client.poll(0.2)
        if message is not None:
            seen.append(message)
            if isinstance(message, kind) and job_id in (None, message.job_id):
                return seen
    raise AssertionError(f"no {kind} came, only {[type(message).__name__ for message in seen]}")


def end_of(client: Client, job_id: str) -> Message:
    """The end of a job."""
    return until(client, ENDS, job_id)


def wait_for(condition, seconds: float = 30.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
