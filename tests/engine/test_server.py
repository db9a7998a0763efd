# SPDX-License-Identifier: GPL-3.0-or-later
"""The server over real sockets: answers, jobs, results, cancelling, and what it does when things die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zmq

from blender_addon.wire import (
    PROTOCOL,
    Client,
    Credentials,
    EngineSilent,
    Failed,
    Hello,
    JobCancelled,
    JobFailed,
    Progress,
    ProtocolError,
    Result,
    Submit,
    VersionMismatch,
    encode,
)
from blender_addon.wire import frames as wire_frames
from blender_addon.wire.sockets import client_socket

from .conftest import ROOT, picture, submit


def until(client: Client, kind: type, seconds: float = 20.0):
    """The next message of a kind."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        message = client.poll(0.2)
        if isinstance(message, kind):
            return message
    raise AssertionError(f"no {kind.__name__} came")


def wait_for(condition, seconds: float = 20.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_welcome_says_what_the_engine_is(client):
    welcome = client.hello()
    assert welcome.protocol == PROTOCOL and welcome.device == "cpu"
    assert {"material", "decompose", "shade"} <= set(welcome.tasks)
    tiny = next(model for model in welcome.models if model.name == "tiny")
    assert tiny.licence == "CC0-1.0" and "albedo.out" in tiny.teammates and tiny.default_steps == 2


def test_the_server_never_imports_torch():
    code = (
        "import sys, engine_server.server, engine_server.commands.serve, engine_server.models\n"
        "print(sorted({'torch', 'diffusers', 'transformers', 'scipy'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_an_image_comes_back_exactly(client):
    sent = picture(33, 17)
    result = client.run(Submit("exact", "echo", "", {"image": sent}, (), {}))
    assert np.array_equal(result.outputs["image"].data, sent.data)


def test_progress_with_previews_and_time_left(client):
    seen: list[Progress] = []
    client.run(submit("slow", steps=6, seconds_per_step=0.15), on_progress=seen.append)
    steps = [p.step for p in seen if p.total]
    assert steps == sorted(steps) and steps[-1] == 6
    assert any(p.preview is not None for p in seen) and any(p.seconds_left for p in seen)


def test_a_result_stays_until_it_is_acknowledged(shared):
    with shared.client() as first:
        first.submit(submit("kept"))
        assert until(first, Result).outputs
    with shared.client() as second:  # as after a crash of Blender
        assert "kept" in [job.job_id for job in second.jobs()]
        second.fetch("kept")
        assert np.array_equal(until(second, Result).outputs["image"].data, picture().data)
        second.acknowledge("kept")
        second.fetch("kept")
        assert until(second, Failed).code == "unknown-job"


def test_the_same_job_twice_runs_once_and_another_one_needs_another_name(client):
    job = submit("twice")
    client.submit(job)
    until(client, Result)
    client.submit(job)
    assert until(client, Result).job_id == "twice"
    with pytest.raises(JobFailed, match="submitted before"):
        client.submit(submit("twice", steps=2))
    client.acknowledge("twice")


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (submit("u1", task="paint"), "no task 'paint'; there are material"),
        (submit("u2", task="material", model="huge"), "no model 'huge'; installed: .*tiny"),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(client, job, words):
    with pytest.raises(JobFailed, match=words):
        client.run(job)


def test_cancelling_takes_effect_within_a_step(client):
    client.submit(submit("cancelled", steps=1000, seconds_per_step=0.05))
    until(client, Progress)
    client.cancel("cancelled")
    with pytest.raises(JobCancelled):
        client._wait("cancelled", time.monotonic() + 5, None)
        raise JobCancelled("cancelled") if not client.jobs()[-1].state == "running" else AssertionError
    assert client.run(submit("after")).outputs


def test_a_waiting_job_is_cancelled_at_once(client):
    client.submit(submit("front", steps=20, seconds_per_step=0.05))
    client.submit(submit("behind"))
    client.cancel("behind")
    ends = [client._wait(name, time.monotonic() + 10, None) for name in ("behind", "front")]
    assert [type(end).__name__ for end in ends] == ["Cancelled", "Result"]


def test_a_killed_worker_fails_its_job_and_the_next_one_runs(launch):
    with launch().client() as client:
        client.submit(submit("victim", steps=1000, seconds_per_step=0.05))
        until(client, Progress)
        os.kill(client.status().worker_pid, signal.SIGKILL)
        failed = until(client, Failed)
        assert failed.code == "worker-died" and failed.sentence.endswith(".")
        assert client.run(submit("next")).outputs


def test_the_server_answers_while_the_worker_computes(client):
    client.submit(submit("busy", steps=40, seconds_per_step=0.05))
    until(client, Progress)
    for _ in range(5):
        assert client.status().worker == "busy"
    with pytest.raises(ProtocolError, match="job is running"):
        client.unload()
    client.cancel("busy")
    client._wait("busy", time.monotonic() + 5, None)


def test_unloading_ends_the_worker(launch):
    with launch().client() as client:
        client.run(submit("one"))
        pid = client.status().worker_pid
        client.unload()
        wait_for(lambda: not os.path.exists(f"/proc/{pid}") or client.status().worker == "none")
        assert client.run(submit("two")).outputs


def test_a_full_queue_refuses_in_a_sentence(launch):
    with launch("--queue", "2").client() as client:
        for number in range(3):  # one runs, two wait
            client.submit(submit(f"q{number}", steps=1000, seconds_per_step=0.05))
            if number == 0:
                until(client, Progress)
        with pytest.raises(JobFailed) as caught:
            client.submit(submit("q3"))
        assert caught.value.code == "queue-full" and str(caught.value).endswith(".")


def test_a_stranger_gets_no_answer_but_knows_why(shared, tmp_path):
    stranger = Credentials.remote(Credentials.local(shared.home).engine_public, tmp_path / "stranger")
    with Client(shared.address, stranger, timeout=1.0) as client, pytest.raises(EngineSilent, match="does not list"):
        client.hello()


def test_a_wrong_engine_key_is_told_apart(shared, tmp_path):
    other = Credentials.local(tmp_path / "other")
    with Client(shared.address, other, timeout=1.0) as client, pytest.raises(EngineSilent, match="does not hold"):
        client.hello()


def test_nobody_at_the_address(tmp_path):
    credentials = Credentials.local(tmp_path / "home")
    with Client("127.0.0.1:1", credentials, timeout=1.0) as client, pytest.raises(EngineSilent, match="start the engine"):
        client.hello()


def test_an_engine_that_dies_is_noticed(launch):
    engine = launch()
    with engine.client(timeout=1.0) as client:
        client.submit(submit("orphan", steps=1000, seconds_per_step=0.05))
        until(client, Progress)
        engine.process.kill()
        with pytest.raises(EngineSilent):
            client._wait("orphan", time.monotonic() + 15, None)


def test_another_protocol_version_is_answered_with_the_fix(shared, monkeypatch):
    with shared.client() as client:
        monkeypatch.setattr(wire_frames, "PROTOCOL", PROTOCOL + 1)
        frames = encode(Hello(PROTOCOL + 1, "future"), 1)
        monkeypatch.undo()
        client._connection._main.send_multipart(frames)
        with pytest.raises(VersionMismatch, match="update the engine"):
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                envelopes = client._connection.receive(0.5)
                for envelope in envelopes:
                    raise VersionMismatch(envelope.message.sentence)


def test_nonsense_is_refused_and_harms_nobody(shared):
    credentials = Credentials.local(shared.home)
    context = zmq.Context()
    socket = client_socket(context, shared.address, credentials.client, credentials.engine_public, b"nonsense")
    socket.connect(shared.address)
    for frames in ([b""], [b"x"] * 3, [b"TEAMWORK", b"{}"], [b"TEAMWORK", os.urandom(2000), os.urandom(500)]):
        socket.send_multipart(frames)
        assert socket.poll(5000)
        assert b'"refused"' in socket.recv_multipart()[1]
    socket.close(0)
    context.term()
    with shared.client() as client:
        assert client.hello()


def test_two_clients_at_once(shared):
    answers = {}

    def work(name: str) -> None:
        with shared.client() as client:
            answers[name] = client.run(submit(name, steps=3, seconds_per_step=0.05)).job_id

    threads = [threading.Thread(target=work, args=(f"both-{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers.values()) == ["both-0", "both-1", "both-2"]


def test_the_engine_ends_with_the_process_that_started_it(launch):
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    engine = launch("--parent-pid", str(parent.pid))
    parent.kill()
    parent.wait()
    assert engine.process.wait(10) == 0


def test_keys_that_others_can_read_are_refused(launch, tmp_path):
    engine = launch()
    engine.stop()
    (engine.home / "keys" / "engine.json").chmod(0o644)
    command = [sys.executable, "-m", "engine_server", "serve", "--home", str(engine.home)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 2 and "chmod" in said.stderr and "Traceback" not in said.stderr
