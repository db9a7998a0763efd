# SPDX-License-Identifier: GPL-3.0-or-later
"""Many clients, slow clients, and clients that never read: each gets its own, and none holds up another."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zmq

from blender_addon.wire import ChannelImage, Client, Credentials, Fetch, Hello, KeyRing, Progress, Result, Submit, encode
from blender_addon.wire.limits import PROTOCOL
from blender_addon.wire.sockets import client_socket

from .conftest import end_of, submit, until, wait_for

MIB = 1 << 20


def memory_of(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def large(job_id: str) -> Submit:
    """A job that gives eight MiB back."""
    return Submit(job_id, "echo", "", {"image": ChannelImage(np.zeros((1024, 2048, 1), np.float32), "data")}, (), {})


def test_sixty_four_clients_at_once(shared):
    answers, failures = {}, []

    def work(number: int) -> None:
        try:
            with shared.client(timeout=60.0) as client:
                image = ChannelImage(np.full((2, 2, 1), number, np.float32), "data")
                job = Submit(f"crowd-{number}", "echo", "", {"image": image}, (), {})
                answers[number] = float(client.run(job).outputs["image"].data.mean())
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures and answers == {number: float(number) for number in range(64)}


def test_a_client_that_never_reads_holds_up_nobody_and_costs_no_memory(launch):
    """It asks for the same large result over and over, and takes none."""
    engine = launch()
    credentials = Credentials.local(engine.home)
    context = zmq.Context()
    deaf = client_socket(context, engine.address, credentials.client, credentials.engine_public, b"deaf")
    deaf.rcvhwm = 1
    deaf.connect(engine.address)
    with engine.client() as client:
        client.submit(large("held"))
        assert isinstance(end_of(client, "held"), Result)
        before = memory_of(engine.process.pid)
        for _ in range(300):
            deaf.send_multipart(encode(Fetch("held")))
        for name in ("one", "two", "three"):
            assert client.run(submit(name), timeout=30).outputs
        assert memory_of(engine.process.pid) < before + 400 * MIB
        client.acknowledge("held")
    deaf.close(0)
    context.term()


def test_a_client_that_reads_slowly_gets_all_of_it(shared):
    with shared.client(timeout=30.0) as slow:
        for number in range(6):
            slow.submit(large(f"slow-{number}"))
        ends = []
        while len(ends) < 6:
            time.sleep(0.2)
            message = slow.poll(10.0)
            if isinstance(message, Result):
                ends.append(message.job_id)
                slow.acknowledge(message.job_id)
        assert sorted(ends) == [f"slow-{number}" for number in range(6)]


def timers(port: int) -> list[str]:
    """The timers of this computer's established connections to and from a port, as the kernel lists them."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ports = [{int(place.rpartition(":")[2], 16) for place in line[1:3]} for line in lines]
    return [line[5][:2] for line, both in zip(lines, ports, strict=True) if port in both and line[3] == "01"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the timers of connections")
def test_both_ends_ask_an_idle_connection_whether_somebody_is_there(shared):
    """A timer of 02 is that of TCP's keepalive."""
    port = int(shared.address.rpartition(":")[2])
    with shared.client() as client:
        client.hello()
        wait_for(lambda: len(timers(port)) >= 4 and set(timers(port)) == {"02"})  # two connections, each seen from both ends


def test_hundreds_of_greetings_that_nobody_reads(shared):
    credentials = Credentials.local(shared.home)
    context = zmq.Context()
    rude = client_socket(context, shared.address, credentials.client, credentials.engine_public, b"rude")
    rude.connect(shared.address)
    for number in range(3000):
        rude.send_multipart(encode(Hello(PROTOCOL, "rude"), number))
    with shared.client() as client:
        assert client.status().queued == 0
    rude.close(0)
    context.term()


def test_two_keys_share_the_engine_fairly(launch, tmp_path):
    """One sends ten jobs, then the other one: it does not wait for all ten."""
    engine = launch()
    guest = Credentials.remote(Credentials.local(engine.home).engine_public, tmp_path / "guest")
    KeyRing(engine.home).add("guest", guest.client.public)
    with engine.client() as greedy, Client(engine.address, guest) as modest:
        for number in range(10):
            greedy.submit(submit(f"greedy-{number}", steps=4, seconds_per_step=0.1))
        until(greedy, Progress, "greedy-0")
        assert modest.submit(submit("modest")).position == 0
        assert isinstance(end_of(modest, "modest"), Result)
        states = [job.state for job in greedy.jobs()]
        assert states.count("queued") >= 7
        for number in range(10):
            greedy.cancel(f"greedy-{number}")
        wait_for(lambda: all(job.state in ("cancelled", "done") for job in greedy.jobs()))
