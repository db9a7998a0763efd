# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens when things die, hang, or are not what they should be: one sentence each, and life goes on."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys

import pytest
import zmq

from blender_addon.wire import PROTOCOL, Client, Credentials, EngineSilent, Failed, JobFailed, Progress, Result
from blender_addon.wire.sockets import client_socket
from tests.wire.test_messages import BAD, frames_of

from .conftest import ROOT, end_of, submit, until, wait_for
from .test_server import exists

FOREVER = {"steps": 1000, "seconds_per_step": 0.05}


def test_a_killed_worker_fails_its_job_and_the_next_one_runs(launch):
    with launch().client() as client:
        client.submit(submit("victim", **FOREVER))
        client.submit(submit("next"))
        until(client, Progress, "victim")
        os.kill(client.status().worker_pid, signal.SIGKILL)
        failed = until(client, Failed)
        assert (failed.job_id, failed.code) == ("victim", "worker-died")
        assert "SIGKILL" in failed.sentence and failed.sentence.endswith("the next job gets a new one.")
        assert isinstance(end_of(client, "next"), Result)


def test_a_hanging_worker_is_replaced(launch):
    with launch("--hang-limit", "1").client() as client:
        with pytest.raises(JobFailed, match="no sign of life") as caught:
            client.run(submit("stuck", steps=1, seconds_per_step=300))
        assert caught.value.code == "worker-hung"
        assert client.run(submit("next")).outputs


def test_a_device_that_is_not_there_is_said_for_each_job_and_kills_no_worker(launch):
    with launch("--device", "cuda:99").client() as client:
        for name in ("first", "second"):
            with pytest.raises(JobFailed, match="device 'cuda:99' is not there"):
                client.run(submit(name, "material"), timeout=120)
        pid = client.status().worker_pid
        assert client.run(submit("third")).outputs and client.status().worker_pid == pid


def test_an_engine_that_is_killed_is_noticed_and_takes_its_worker_along(launch):
    engine = launch()
    with engine.client(timeout=1.0) as client:
        client.run(submit("before"))
        pid = client.status().worker_pid
        with pytest.raises(EngineSilent, match="has not answered for|Nothing listens"):
            client.run(submit("orphan", **FOREVER), on_progress=lambda progress: engine.process.kill())
    wait_for(lambda: not exists(pid))


def test_a_new_engine_at_the_same_address_says_that_the_job_is_lost(launch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    first = launch("--address", place)
    with first.client(timeout=30.0) as client:
        client.submit(submit("lost", **FOREVER))
        until(client, Progress)
        first.process.kill()
        first.process.wait()
        launch("--address", place)  # the same home, so the same keys
        failed = end_of(client, "lost")
        assert failed.code == "unknown-job" and "started anew" in failed.sentence
        assert client.run(submit("next")).outputs


def test_a_taken_address_is_one_sentence(shared):
    command = [sys.executable, "-m", "engine_server", "serve", "--home", str(shared.home), "--address", shared.address]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 2 and "cannot listen at" in said.stderr and "Traceback" not in said.stderr


def test_a_stranger_gets_no_answer_but_knows_why(shared, tmp_path):
    stranger = Credentials.remote(Credentials.local(shared.home).engine_public, tmp_path / "stranger")
    with Client(shared.address, stranger, timeout=1.0) as client, pytest.raises(EngineSilent, match="does not list") as told:
        client.hello()
    assert f"keys add NAME '{stranger.client.public}'" in str(told.value)


def test_a_wrong_engine_key_is_told_apart(shared, tmp_path):
    other = Credentials.local(tmp_path / "other")
    with Client(shared.address, other, timeout=1.0) as client, pytest.raises(EngineSilent, match="does not hold"):
        client.hello()


def test_nobody_at_the_address(tmp_path):
    credentials = Credentials.local(tmp_path / "home")
    with Client("127.0.0.1:1", credentials, timeout=1.0) as client, pytest.raises(EngineSilent, match="start the engine"):
        client.hello()


@pytest.mark.parametrize(("theirs", "older"), [(PROTOCOL + 1, "the engine"), (PROTOCOL - 1, "the add-on in Blender")])
def test_a_client_of_another_version_gets_one_sentence_with_the_fix(shared, theirs, older):
    code = (
        "import sys; from blender_addon.wire import limits; limits.PROTOCOL = int(sys.argv[1])\n"
        "for name in [n for n in sys.modules if n.startswith('blender_addon.wire') and not n.endswith('limits')]:\n"
        "    del sys.modules[name]\n"
        "from blender_addon.wire import Client, Credentials, VersionMismatch\n"
        "try:\n"
        "    Client(sys.argv[2], Credentials.local(sys.argv[3])).hello()\n"
        "except VersionMismatch as error:\n"
        "    print(error)"
    )
    words = [sys.executable, "-c", code, str(theirs), shared.address, str(shared.home)]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.endswith(f"update {older}.\n") and said.count("\n") == 1 and f"client version {theirs}" in said
    with shared.client() as client:
        assert client.hello()


def nonsense() -> list[list[bytes]]:
    """Messages that are none: those of the wire's own tests, and random bytes."""
    chance = random.Random(0)
    harmed = [harm(frames_of()) for name, harm in BAD.items() if name != "no frames"]
    header = bytearray(frames_of()[1])
    for _ in range(200):
        copy = bytearray(header)
        copy[chance.randrange(len(copy))] = chance.randrange(256)
        harmed.append([b"TEAMWORK", bytes(copy[: chance.randrange(len(copy))])])
    return [*harmed, [b""], [b"x"] * 3, [b"TEAMWORK", chance.randbytes(2000), chance.randbytes(500)]]


def test_nonsense_is_refused_in_a_sentence_and_harms_nobody(shared):
    credentials = Credentials.local(shared.home)
    context = zmq.Context()
    raw = client_socket(context, shared.address, credentials.client, credentials.engine_public, b"nonsense")
    raw.connect(shared.address)
    for frames in nonsense():
        raw.send_multipart(frames)
        assert raw.poll(10_000), frames[:2]
        header = raw.recv_multipart()[1]
        assert b'"refused"' in header and b'"bad-message"' in header
    raw.close(0)
    context.term()
    with shared.client() as client:
        assert client.run(submit("sane")).outputs


def test_the_engine_ends_with_the_process_that_started_it(launch):
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    engine = launch("--parent-pid", str(parent.pid))
    parent.kill()
    parent.wait()
    assert engine.process.wait(10) == 0


def test_keys_that_others_can_read_are_refused(launch):
    engine = launch()
    engine.stop()
    (engine.home / "keys" / "engine.json").chmod(0o644)
    command = [sys.executable, "-m", "engine_server", "serve", "--home", str(engine.home)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 2 and "chmod" in said.stderr and "Traceback" not in said.stderr
