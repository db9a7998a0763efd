# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects which worker gets a job, what becomes of one whose device fails, and of an actor whose connection breaks."""

from __future__ import annotations

import os
import threading
import time
from types import SimpleNamespace

import pytest
import zmq

from blender_addon.wire import PROTOCOL, Failed, Result, decode, encode
from blender_addon.wire.sockets import private_client_socket
from engine_server.device_worker import BUSY, IDLE
from engine_server.failures import explain
from engine_server.queue import Job
from engine_server.settings import Settings
from engine_server.supervisor import Supervisor
from engine_server.worker import Worker
from engine_server.worker_link import DOMAIN, FROM_WORKER, Channel, Orders, WorkerState, key_pair
from engine_server.zap import Doorkeeper

from .conftest import picture, submit


class Somewhere:
    """An executor whose workers come up when they are told to."""

    attempts, listen, places, remote = 2, "", ("cpu", "cpu"), False

    def start(self, orders: Orders) -> SimpleNamespace:
        return SimpleNamespace(pid=0, ended=lambda: None, stop=lambda: None, kill=lambda: None, join=lambda: None)

    def check(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def supervisor(tmp_path):
    context = zmq.Context()
    made = Supervisor(context, Settings(tmp_path), lambda *news: None, Somewhere(), None)
    made.send, made.context = lambda token, frames: None, context
    yield made
    made.close(), context.term()


def waiting(name: str) -> Job:
    return Job("me", name, "echo", b"", [b""], 10, b"")


def test_a_job_does_not_wait_for_a_worker_that_starts_while_another_is_idle(supervisor):
    slow, ready = supervisor.workers
    slow.start()
    assert supervisor.free() is slow
    ready.start(), ready.hear(WorkerState("cpu", 0, 0), [])
    assert supervisor.free() is ready
    slow.assign(waiting("late"))
    supervisor.check()
    assert slow.job is None and ready.job.job_id == "late" and ready.state == BUSY and ready.job.begun == 1
    slow.hear(WorkerState("cpu", 0, 0), [])
    assert slow.state == IDLE and ready.job is not None


@pytest.mark.parametrize(("code", "goes"), [("device-failed", True), ("out-of-memory", True), ("internal", False)])
def test_a_worker_whose_device_failed_gets_a_successor(supervisor, code, goes):
    worker = supervisor.workers[0]
    worker.start(), worker.hear(WorkerState("cpu", 0, 0), [])
    worker.assign(waiting("j"))
    worker.hear(Failed("j", code, "It failed."), [])
    assert (worker.process is None) == goes and worker.job is None


def test_a_worker_is_not_blamed_for_the_time_that_this_process_slept(supervisor, monkeypatch):
    """As when a laptop is closed in the middle of a job: its clock has gone on, and nobody said a word."""
    worker, hang_limit, began = supervisor.workers[0], supervisor.settings.hang_limit, time.monotonic()
    worker.start(), worker.hear(WorkerState("cpu", 0, 0), [])
    worker.assign(waiting("j"))
    supervisor.check()
    clock = SimpleNamespace(monotonic=lambda: began + later)
    monkeypatch.setattr("engine_server.supervisor.time", clock)
    later = 2 * hang_limit
    supervisor.check()
    assert worker.job is not None and worker.state == BUSY
    for second in range(0, int(hang_limit) + 2, 2):
        later = 2 * hang_limit + second
        supervisor.check()
    assert worker.job is None  # awake, it was heard as little


def test_a_worker_of_another_release_ends_its_job_at_once_with_what_to_do(supervisor):
    """Its files were replaced under the running engine: to wait for what it says would be to wait for ever."""
    ends = []
    supervisor.on_news = lambda job, message, frames: ends.append(message)
    worker = supervisor.workers[0]
    worker.assign(waiting("j"))
    told = encode(WorkerState("cpu", 0, 0))
    told[1] = bytes(told[1]).replace(b'"protocol":%d' % PROTOCOL, b'"protocol":%d' % (PROTOCOL + 1))
    other = worker.process
    peer = private_client_socket(supervisor.context, supervisor.socket.last_endpoint.decode(), worker.token.encode())
    peer.connect(supervisor.socket.last_endpoint.decode())
    peer.send_multipart(told)
    assert supervisor.socket.poll(5000)
    supervisor.receive()
    peer.close(0)
    assert ends[0].code == "worker-failed-to-start" and "start it anew" in ends[0].sentence
    assert worker.process is not other and worker.job is None


def test_a_device_that_failed_is_told_from_a_mistake_of_ours():
    broken = RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA.")
    assert explain(broken, submit("j"))[0] == "device-failed" and "illegal memory access" in explain(broken, submit("j"))[1]
    assert explain(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), submit("j"))[0] == "out-of-memory"
    assert explain(ValueError("no"), submit("j"))[0] == "internal"


def test_the_folder_of_a_killed_engine_is_gone_when_the_next_one_starts_and_only_that(launch, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    first, second = launch(name="one"), launch(name="two")
    (tmp_path / "teamwork-other").mkdir()
    assert len(list(tmp_path.glob("teamwork-*/workers"))) == 2
    first.process.kill(), first.process.wait()
    for folder in tmp_path.glob("teamwork-*"):
        os.utime(folder, (0, 0))
    third = launch(name="three")
    assert len(list(tmp_path.glob("teamwork-*/workers"))) == 2 and (tmp_path / "teamwork-other").is_dir()
    for engine in (second, third):
        with engine.client() as client:
            assert client.run(submit("still")).outputs


def test_an_actor_ends_when_its_connection_breaks(tmp_path):
    """What was on its way is lost then; Ray starts another one, which does the job anew."""
    channel = Channel(context := zmq.Context(), "tcp://127.0.0.1:*")
    door, orders = Doorkeeper(context, {DOMAIN: lambda key: True}), key_pair()
    broken = threading.Event()
    there = zmq.Context()
    worker = Orders(channel.address, channel.keys.public, orders.public, orders.secret, "w", "cpu").connect(there, broken.set)
    try:
        assert door.socket.poll(5000)
        door.answer()
        worker.send_multipart([b"hello"])
        assert channel.socket.poll(5000) and not broken.is_set()
        context.destroy(0)
        assert broken.wait(5)
    finally:
        context.destroy(0), there.destroy(0)


def test_a_result_larger_than_a_message_may_be_is_told_and_the_worker_goes_on(monkeypatch):
    """As all channels of an 8K picture are: the process ended, and the user was told that it had."""
    channel = Channel(context := zmq.Context())
    worker = Worker(Orders(channel.address, channel.keys.public, "", "", "w", "cpu"))
    monkeypatch.setattr("blender_addon.wire.frames.MAX_MESSAGE_BYTES", 20_000)
    try:
        worker._end(Result("large", {"albedo": picture(64, 64)}, {}))
        worker._end(Result("small", {"albedo": picture(8, 8)}, {}))
        told = []
        while len(told) < 2 and channel.socket.poll(5000):
            told.append(decode(channel.socket.recv_multipart()[1:], FROM_WORKER).message)
        assert told[0].code == "bad-message" and "ask for fewer channels" in told[0].sentence and told[1].job_id == "small"
    finally:
        worker._context.destroy(0), channel.close(), context.destroy(0)
