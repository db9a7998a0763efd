# SPDX-License-Identifier: GPL-3.0-or-later
"""Large images beside the messages when a client, a worker or the engine itself ends: none is lost, and nothing is left behind."""

from __future__ import annotations

import os
import signal

from blender_addon.wire import Failed, Progress, Result

from .conftest import until, wait_for
from .handing import files_of, folder_of, killed, large, right


SUBMITTING = """
import sys
from blender_addon.wire import Client, Credentials
from tests.engine.handing import large
client = Client(sys.argv[1], Credentials.local(sys.argv[2]))
client.submit(large("orphan"))
print("submitted", flush=True)
input()
"""


def test_the_job_of_a_killed_client_keeps_its_files_and_its_result(shared):
    assert killed(SUBMITTING, shared.address, str(shared.home)) == "submitted\n"
    with shared.client() as client:
        client.hello()
        client.fetch("orphan")
        assert right(until(client, Result), large("orphan"))
        client.acknowledge("orphan")


ACKNOWLEDGING = """
import sys
from blender_addon.wire import Acknowledge, Client, Credentials, Result
from tests.engine.conftest import until
from tests.engine.handing import large
client = Client(sys.argv[1], Credentials.local(sys.argv[2]), timeout=30.0)
client.submit(large("taken"))
until(client, Result)
send = client._connection.send
def stop(message, *request):
    if isinstance(message, Acknowledge):
        print("taken", flush=True)
        input()
    send(message, *request)
client._connection.send = stop
client.acknowledge("taken")
"""


def test_a_client_that_is_killed_just_before_it_acknowledges_loses_nothing(shared):
    """It has taken the result's pages over and comes back; they serve again only when it has acknowledged."""
    job, before = large("taken"), set(files_of(shared))
    assert killed(ACKNOWLEDGING, shared.address, str(shared.home)) == "taken\n"
    with shared.client() as client:
        client.hello()
        for _ in range(2):
            client.fetch("taken")
            assert right(until(client, Result), job)
            assert right(client.run(large("between", seed=1)), large("between", seed=1))
        client.acknowledge("taken")
        client.fetch("taken")
        assert until(client, Failed).code == "unknown-job"
    with shared.client() as client:  # what the killed one has kept is all that is left, until it is swept
        client.hello()
        assert len(set(files_of(shared)) - before) <= 1


def test_an_engine_that_stops_leaves_nothing(launch):
    engine = launch()
    folder = folder_of(engine)
    with engine.client() as client:
        client.submit(large("kept"))
        until(client, Result)
        assert folder.is_dir()
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait(20) == 0
    assert not folder.exists()


def test_the_worker_of_a_killed_engine_removes_its_folder(launch):
    engine = launch("--warm")
    folder = folder_of(engine)
    with engine.client() as client:
        client.submit(large("kept"))
        until(client, Result)
        engine.process.kill()
    wait_for(lambda: not folder.exists(), 10)


def test_a_killed_worker_leaves_no_file_of_its_job(launch):
    engine = launch()
    with engine.client() as client:
        client.submit(large("victim", steps=1000, seconds_per_step=0.05))
        until(client, Progress)
        os.kill(client.status().worker_pid, signal.SIGKILL)
        assert until(client, Failed).code == "worker-died"
        job = large("next")
        assert right(client.run(job), job)
