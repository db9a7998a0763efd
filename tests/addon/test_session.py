# SPDX-License-Identifier: GPL-3.0-or-later
"""The session thread, with real engines and without Blender."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from blender_addon import launcher
from blender_addon.events import Connected, JobDone, JobEnded, JobProgress, Lost, Unloaded
from blender_addon.session import Session
from blender_addon.wire import ChannelImage, Credentials, Submit
from tests.engine.conftest import ROOT, models  # noqa: F401 (a fixture)

PYTHON = Path(sys.executable)


@pytest.fixture
def engine(tmp_path):
    """An engine of the launcher's."""
    started = launcher.start_engine(PYTHON, tmp_path / "home")
    yield started
    started.stop()


@pytest.fixture
def session(engine, tmp_path):
    """A session with it."""
    made = Session(engine.record.address, Credentials.local(tmp_path / "home"), timeout=1.5)
    yield made
    made.close()


def job(name: str, **options) -> Submit:
    image = ChannelImage(np.ones((4, 4, 3), np.float32), "scene-linear")
    return Submit(name, "echo", "", {"image": image}, (), options)


def until(session: Session, kind: type, seconds: float = 20.0):
    """The first event of a kind; those before it are dropped, those after it stay."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        while session._events:
            event = session._events.popleft()
            if isinstance(event, kind):
                return event
        time.sleep(0.01)
    raise AssertionError(f"no {kind.__name__}")


def test_orders_wake_the_thread_that_waits(session, monkeypatch):
    monkeypatch.setattr("blender_addon.session.STATUS_SECONDS", 60.0)
    until(session, Connected)
    time.sleep(3.5)  # now it waits for a minute, or for us
    began = time.monotonic()
    session.submit(job("a", steps=1))
    until(session, JobDone)
    session.submit(job("b", steps=1000, seconds_per_step=0.05))
    until(session, JobProgress)
    session.cancel("b")
    assert until(session, JobEnded).code == "cancelled"
    assert time.monotonic() - began < 10.0
    began = time.monotonic()
    session.close()
    assert time.monotonic() - began < 2.0
    assert not session._thread.is_alive()


def test_a_job_from_connection_to_result(session):
    assert until(session, Connected).welcome.device == "cpu"
    session.submit(job("a", steps=3, seconds_per_step=0.05))
    assert until(session, JobProgress).progress.job_id == "a"
    assert until(session, JobDone).result.outputs["image"].data.shape == (4, 4, 3)
    session.acknowledge("a")


def test_cancel_ends_the_job(session):
    session.submit(job("b", steps=1000, seconds_per_step=0.05))
    until(session, JobProgress)
    session.cancel("b")
    assert until(session, JobEnded).code == "cancelled"


class Slow(ChannelImage):
    """A picture whose pixels need a word from outside."""

    def __init__(self) -> None:
        self.__dict__.update(space="scene-linear", asked=threading.Event(), allowed=threading.Event())

    @property
    def data(self) -> np.ndarray:
        self.asked.set()
        assert self.allowed.wait(20.0)
        return np.ones((4, 4, 3), np.float32)


def test_a_job_cancelled_before_its_pixels_are_ready_never_reaches_the_engine(session):
    until(session, Connected)
    picture = Slow()
    session.submit(Submit("s", "echo", "", {"image": picture}, (), {}))
    assert picture.asked.wait(10.0)
    session.cancel("s")
    assert until(session, JobEnded).code == "cancelled"
    picture.allowed.set()
    session.submit(job("t"))
    assert until(session, JobDone).result.job_id == "t"


def test_one_whose_pixels_cannot_be_made_fails_alone(session):
    until(session, Connected)
    picture = Slow()
    picture.__dict__["allowed"] = None
    session.submit(Submit("u", "echo", "", {"image": picture}, (), {}))
    ended = until(session, JobEnded)
    assert ended.job_id == "u" and ended.sentence.startswith("The picture could not be prepared")
    session.submit(job("v"))
    assert until(session, JobDone).result.job_id == "v"


def test_a_refused_job_ends_with_its_sentence(session):
    session.submit(Submit("c", "material", "none", job("x").inputs, (), {}))
    ended = until(session, JobEnded)
    assert ended.code == "unknown-model" and "none" in ended.sentence


def test_a_killed_engine_ends_every_job_with_a_sentence(engine, session):
    session.submit(job("d", steps=1000, seconds_per_step=0.05))
    until(session, JobProgress)
    engine.process.kill()
    ended = until(session, JobEnded)
    assert ended.job_id == "d" and ended.code == "lost" and ended.sentence.endswith(".")
    assert until(session, Lost).sentence == ended.sentence
    deadline = time.monotonic() + 5.0
    while session.alive and time.monotonic() < deadline:  # until the results that had come already are out
        time.sleep(0.01)
    assert not session.alive


def test_nobody_there_is_one_sentence_also_for_a_waiting_job(tmp_path):
    session = Session("127.0.0.1:1", Credentials.local(tmp_path), timeout=0.5)
    session.submit(job("e"))
    assert "start the engine" in until(session, JobEnded).sentence
    session.close()


def test_draining_keeps_to_its_time(session):
    session._events.extend(Lost(str(i)) for i in range(100_000))
    started = time.monotonic()
    taken = session.drain(0.002)
    assert 0 < len(taken) < 100_000 and time.monotonic() - started < 0.1
    session._events.clear()


def test_closing_leaves_no_thread(engine, tmp_path):
    session = Session(engine.record.address, Credentials.local(tmp_path / "home"))
    until(session, Connected)
    session.close()
    assert "teamwork-session" not in [thread.name for thread in threading.enumerate()]


def test_the_address_may_be_one_that_is_waited_for(tmp_path):
    home = tmp_path / "home"
    engine = launcher.spawn_engine(PYTHON, home)
    session = Session(lambda: engine.wait().address, Credentials.local(home))
    session.submit(job("early"))
    assert until(session, JobDone).result.job_id == "early"
    session.close()
    engine.stop()


def test_an_engine_that_is_stopped_while_it_starts_ends_the_session_and_its_jobs(tmp_path):
    engine = launcher.spawn_engine(PYTHON, tmp_path / "home")
    session = Session(lambda: engine.wait().address, Credentials.local(tmp_path / "home"))
    session.submit(job("early"))
    engine.stop()
    assert "ended at once" in until(session, JobEnded).sentence
    until(session, Lost)
    session.close()


def test_memory_is_freed_but_not_under_a_running_job(session):
    session.submit(job("f", steps=1000, seconds_per_step=0.05))
    until(session, JobProgress)
    session.unload()
    refused = until(session, Unloaded)
    assert not refused.done and "running" in refused.sentence
    session.cancel("f")
    until(session, JobEnded)
    session.unload()
    assert until(session, Unloaded).done
    assert session.alive


def test_a_job_over_a_limit_ends_alone(session):
    inputs = {f"image{number}": job("x").inputs["image"] for number in range(40)}
    session.submit(Submit("g", "echo", "", inputs, (), {}))
    ended = until(session, JobEnded)
    assert ended.job_id == "g" and ended.sentence
    session.submit(job("h"))
    assert until(session, JobDone).result.job_id == "h"


def test_an_address_that_is_none_is_one_sentence(tmp_path):
    session = Session("a b c", Credentials.local(tmp_path))
    assert "expected host:port" in until(session, Lost).sentence
    session.close()


def test_an_engine_that_was_started_anew_tells_its_models_again(engine, tmp_path, models, monkeypatch):  # noqa: F811
    """As after an operator has given it more of them: what Blender's panels offer is not of its predecessor."""
    session = Session(engine.record.address, Credentials.local(tmp_path / "home"), timeout=20.0)
    first = until(session, Connected).welcome
    port, home = engine.record.address.rpartition(":")[2], tmp_path / "home"
    engine.stop()
    monkeypatch.setenv("TEAMWORK_MODELS", str(models))
    words = ("-m", "engine_server", "serve", "--address", f"127.0.0.1:{port}", "--home", str(home))
    second = subprocess.Popen([str(PYTHON), *words], cwd=ROOT)
    try:
        told = until(session, Connected).welcome
        assert told.instance != first.instance
        assert "tiny" in [model.name for model in told.models] and "tiny" not in [model.name for model in first.models]
    finally:
        session.close()
        second.terminate()
        second.wait(10)
