# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs on a Ray cluster, for real: two actors on this computer, killed, cancelled, unloaded; and a second node that leaves."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
from ray.exceptions import RayTaskError

from blender_addon.wire import Cancelled, ChannelImage, Client, Failed, Progress, Result, Submit, run_in_order
from engine_server.cluster.actor import WorkerActor
from engine_server.cluster.connecting import describe
from engine_server.cluster.places import Node, cpus_each, places_of
from engine_server.device_worker import AGAIN

from .conftest import ROOT, Engine, end_of, submit, until, wait_for
from .test_server import exists

FOREVER = {"steps": 10_000, "seconds_per_step": 0.05}
LONG = 11
"""The number of a frame that takes long, so that its worker can be killed in the middle."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, models):
    """An engine with two actors on this computer; `log` is the file that it was told to log to."""
    folder = tmp_path_factory.mktemp("cluster")
    words = ("--cluster", "local", "--workers", "2", "--device", "cpu", "--log", str(folder / "engine.log"))
    engine = Engine(folder / "home", models, *words)
    engine.log = folder / "engine.log"
    yield engine
    engine.stop()


def frames() -> list[Submit]:
    """24 frames of an animation, each one different."""
    pixels = np.random.default_rng(0).random((24, 12, 20, 3), np.float32)
    return [
        Submit(
            *(f"frame-{number}", "material", "tiny", {"image": ChannelImage(pixels[number], "scene-linear")}),
            *(("albedo", "normals"), {"seed": number, "steps": 60 if number == LONG else 2}),
        )
        for number in range(24)
    ]


def worker_of(engine: Engine, job_id: str, time_of_it: int = 1) -> int:
    """The process id of the actor that has begun a job, by the engine's log."""
    found: list[str] = []

    def logged() -> bool:
        found[:] = re.findall(rf"WorkerActor pid=(\d+).* job {job_id}: ", engine.log.read_text())
        return len(found) >= time_of_it

    wait_for(logged)
    return int(found[time_of_it - 1])


def rendered(client: Client, on_progress=None) -> dict[str, Result]:
    """All frames by name, in the order in which they came."""
    return {end.job_id: end for end in run_in_order(client, frames(), in_flight=6, on_progress=on_progress)}


def test_24_frames_with_a_killed_actor_are_in_order_and_as_on_one_computer(cluster, shared):
    again, killed = [], []

    def on_progress(progress: Progress) -> None:
        if progress.stage == AGAIN:
            again.append(progress.job_id)
        elif progress.job_id == f"frame-{LONG}" and progress.step > 5 and not killed:
            killed.append(worker_of(cluster, progress.job_id))
            os.kill(killed[0], signal.SIGKILL)

    with cluster.client() as client:
        spread = rendered(client, on_progress)
    with shared.client() as client:
        alone = rendered(client)
    names = [f"frame-{number}" for number in range(24)]
    assert list(spread) == list(alone) == names
    for name in names:
        for channel, image in alone[name].outputs.items():
            assert np.array_equal(spread[name].outputs[channel].data, image.data), (name, channel)
    log = cluster.log.read_text()
    assert again == [f"frame-{LONG}"] and len(killed) == 1
    workers = [re.findall(rf"WorkerActor pid=(\d+).* job {name}: ", log) for name in names]
    assert [len(begun) for begun in workers] == [2 if number == LONG else 1 for number in range(24)]
    assert len({pid for begun in workers for pid in begun}) >= 2


def test_a_second_death_fails_the_job_and_the_next_one_runs(cluster):
    with cluster.client() as client:
        client.submit(submit("cursed", **FOREVER))
        for attempt in (1, 2):
            os.kill(worker_of(cluster, "cursed", attempt), signal.SIGKILL)
        failed = end_of(client, "cursed")
        assert (failed.code, "so did the one before it" in failed.sentence) == ("worker-died", True)
        assert client.run(submit("after")).outputs


def test_two_at_once_with_progress_and_previews_and_a_cancel_within_a_step(cluster):
    with cluster.client() as client:
        for name in ("left", "right"):
            client.submit(submit(name, steps=1000, seconds_per_step=0.1))
        seen: dict[str, Progress] = {}
        while len(seen) < 2:
            seen.setdefault((news := until(client, Progress)).job_id, news)
        assert all(progress.preview is not None for progress in seen.values())
        started = time.monotonic()
        client.cancel("left")
        assert isinstance(end_of(client, "left"), Cancelled) and time.monotonic() - started < 2
        assert until(client, Progress, "right").seconds_left > 10
        client.cancel("right")
        assert isinstance(end_of(client, "right"), Cancelled)


def test_what_actors_log_is_in_the_engines_log_alone(cluster):
    with cluster.client() as client:
        client.run(submit("logged"))
    assert exists(worker_of(cluster, "logged"))
    assert cluster.home.with_suffix(".log").read_text().splitlines() == [f"ready {cluster.address}"]


def test_mistakes_have_the_same_sentences_and_unloading_ends_the_actors(cluster, shared):
    wrong = submit("wrong", outputs=("nothing",))
    with cluster.client() as there, shared.client() as here:
        told = [next(iter(run_in_order(client, [wrong]))) for client in (there, here)]
        assert told[0] == told[1] and isinstance(told[0], Failed)
        status = there.status()
        assert status.device == "cpu,cpu" and status.memory_total > 0 and exists(status.worker_pid)
        there.unload()
        wait_for(lambda: not exists(status.worker_pid))
        assert there.status().worker == "none"
        assert there.run(submit("reloaded")).outputs


def test_a_killed_engine_takes_its_actors_along(cluster):
    with cluster.client() as client:
        client.run(submit("before"))
        pid = client.status().worker_pid
    cluster.process.kill()
    wait_for(lambda: not exists(pid))


@pytest.fixture
def two_nodes(monkeypatch):
    """A cluster of two nodes with one CPU each, as `ray start` makes them: its address, and both processes."""
    for name, value in {"AUTH_MODE": "token", "AUTH_TOKEN": secrets.token_hex(32), "USAGE_STATS_ENABLED": "0"}.items():
        monkeypatch.setenv(f"RAY_{name}", value)
    with socket.socket() as free:
        free.bind(("", 0))
        port = str(free.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        head = ray_start("--head", "--port", port, "--include-dashboard", "false", "--temp-dir", folder)
        node = ray_start("--address", f"127.0.0.1:{port}")
        yield f"127.0.0.1:{port}", head, node
        for process in (head, node):
            end_all(process)


def ray_start(*words: str) -> subprocess.Popen:
    """A node of a cluster, with one CPU, in a process group of its own."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words, "--num-cpus", "1", "--block"]
    process = subprocess.Popen(
        [*command, "--object-store-memory", "80000000"],
        **{"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True},
    )
    next(line for line in process.stdout if "Ray runtime started" in line)
    return process


def end_all(node: subprocess.Popen) -> None:
    """End a node with all of its processes, as when the power goes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()


def test_a_node_that_leaves_and_a_cluster_that_is_lost(launch, two_nodes):
    address, head, node = two_nodes
    with launch("--cluster", address, "--start-limit", "4").client() as client:
        wait_for(lambda: client.status().device == "cpu,cpu")
        for name in ("one", "two"):
            client.submit(submit(name, **FOREVER))
            until(client, Progress, name)
        node.terminate()
        again = until_again(client)
        wait_for(lambda: client.status().device == "cpu")
        other = "two" if again == "one" else "one"
        assert {job.job_id: job.state for job in client.jobs()} == {again: "queued", other: "running"}
        client.cancel(other)
        assert until(client, Progress, again).step >= 0
        end_all(head)
        failed = end_of(client, again)
        assert failed.code == "worker-died" and "because the cluster was lost" in failed.sentence
        client.submit(submit("later"))
        failed = end_of(client, "later")
        assert failed.code == "worker-failed-to-start"
        assert failed.sentence.startswith(f"The Ray cluster {address} is lost and was not found again within 4 s: start it")


def until_again(client: Client) -> str:
    """The name of the next job that has to start again."""
    while True:
        progress = until(client, Progress)
        if progress.stage == AGAIN:
            return progress.job_id


def refused(*words: str, **variables: str) -> str:
    """What `serve` says when it does not start."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "engine_server", "serve", "--home", home, "--address", "127.0.0.1:0", *words]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | variables, timeout=60)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended.stderr
    return ended.stderr.splitlines()[-1]


def test_what_is_wrong_with_a_cluster_is_one_sentence(tmp_path):
    assert "No Ray cluster answers at 127.0.0.1:1 (" in refused("--cluster", "127.0.0.1:1")
    assert "is not the address of a Ray cluster; expected host:port" in refused("--cluster", "ray://there:10001")
    assert "--cluster-port is 99999; expected a port" in refused("--cluster", "local", "--cluster-port", "99999")
    assert "--queue is 0; expected 1 or more" in refused("--queue", "0")
    assert "the device is cpu or cuda" in refused("--cluster", "local", "--device", "cuda:0,cuda:1")
    (tmp_path / "ray.py").write_text("raise ImportError('there is none')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    told = refused("--cluster", "local", PYTHONPATH=path)
    assert "Ray, which is not installed here" in told and "pip install 'teamwork-blender[cluster]'" in told


def test_a_computer_with_another_version_of_the_engine_says_so():
    with pytest.raises(RuntimeError, match="it has version .* of this engine, where 9.9 is needed") as raised:
        WorkerActor().serve("9.9", "", {})
    assert describe(RayTaskError("serve", "...", raised.value)) == f"because {raised.value}"


@pytest.mark.parametrize(
    ("nodes", "device", "workers", "places"),
    [
        ([Node(8, 2), Node(8, 0), Node(16, 4)], "", 0, ["cuda"] * 6),
        ([Node(8, 2), Node(16, 4)], "cuda", 3, ["cuda"] * 3),
        ([Node(8, 2), Node(16, 4)], "", 99, ["cuda"] * 6),
        ([Node(8, 2), Node(0, 0), Node(16, 4)], "cpu", 0, ["cpu"] * 2),
        ([Node(8, 0), Node(16, 0)], "", 0, ["cpu"] * 2),
        ([Node(8, 0)], "", 4, ["cpu"] * 4),
        ([], "", 4, ["cpu"]),
        ([Node(0, 0)], "", 0, ["cpu"]),
        ([Node(8, 0)], "cuda", 0, ["cuda"]),
    ],
)
def test_how_many_workers_a_cluster_has_room_for(nodes, device, workers, places):
    assert places_of(nodes, device, workers) == places


def test_workers_on_cpus_share_them_so_that_all_find_room():
    nodes = [Node(8, 0), Node(0, 0), Node(16, 0)]
    assert [cpus_each(nodes, workers) for workers in (0, 2, 3, 4, 8, 16)] == [8, 8, 4, 4, 2, 1]
    assert 0.15 < cpus_each(nodes, 99) <= 8 / 50  # Ray takes parts of a CPU
    assert cpus_each([], 3) == 1


def test_what_ended_an_actor_is_told_on_one_line():
    raised = RuntimeError("CUDA error: device is busy\nCUDA kernel errors might be reported later.\n")
    assert describe(RayTaskError("serve", "...", raised)).isprintable()
