# SPDX-License-Identifier: GPL-3.0-or-later
"""The server over real sockets: answers, jobs, results, cancelling."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from blender_addon.wire import (
    PROTOCOL,
    Cancelled,
    ChannelImage,
    Client,
    Credentials,
    Failed,
    JobFailed,
    Progress,
    ProtocolError,
    Result,
    Submit,
    read_engine_record,
)

from .conftest import ROOT, end_of, everything_until, picture, submit, until, wait_for


def test_welcome_says_what_the_engine_is(client):
    welcome = client.hello()
    assert welcome.protocol == PROTOCOL and welcome.device == "cpu"
    assert {"material", "decompose", "shade"} <= set(welcome.tasks)
    tiny = next(model for model in welcome.models if model.name == "tiny")
    assert tiny.licence == "CC0-1.0" and "albedo.out" in tiny.teammates and tiny.default_steps == 2


def test_the_server_answers_soon_and_never_imports_torch(tmp_path):
    """The real server in its process, until a signal ends it; then it tells what it has imported."""
    code = (
        "import sys; from engine_server.__main__ import main\n"
        "ended = main(['serve', '--address', '127.0.0.1:0', '--home', sys.argv[1]])\n"
        "print(ended, sorted({'torch', 'diffusers', 'transformers', 'scipy', 'PIL'} & set(sys.modules)))"
    )
    engine = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: read_engine_record(tmp_path), seconds=5)
    with Client(read_engine_record(tmp_path).address, Credentials.local(tmp_path)) as client:
        assert client.hello().models
        assert client.run(submit("one")).outputs
    engine.send_signal(signal.SIGTERM)
    said, _ = engine.communicate(timeout=20)
    assert said.splitlines()[0].startswith("ready tcp://127.0.0.1:") and said.splitlines()[1] == "0 []"
    assert read_engine_record(tmp_path) is None


def test_a_warm_worker_has_imported_what_jobs_need_before_there_is_one(launch):
    engine = launch("--warm")
    with engine.client() as client:
        client.hello()
        wait_for(lambda: client.status().worker_pid, seconds=20)
        worker = client.status().worker_pid
        wait_for(lambda: "libtorch" in Path(f"/proc/{worker}/maps").read_text(), seconds=60)
        made = client.run(submit("first", "decompose", ("albedo",)))
        assert made.outputs["albedo"].data.shape == (12, 20, 3) and client.status().worker_pid == worker


def test_a_job_that_comes_while_a_worker_warms_up_is_run(launch):
    with launch("--warm").client() as client:
        assert client.run(submit("early")).outputs
        assert client.run(submit("next", "decompose", ("albedo",))).outputs


def test_an_image_comes_back_exactly(client):
    sent = picture(33, 17)
    result = client.run(Submit("exact", "echo", "", {"image": sent}, (), {}))
    assert np.array_equal(result.outputs["image"].data, sent.data)


def test_a_large_image_comes_back_exactly(client):
    sent = ChannelImage(np.arange(1500 * 2000 * 4, dtype=np.float32).reshape(1500, 2000, 4), "data")
    result = client.run(Submit("large", "echo", "", {"depth": sent}, (), {}))
    assert np.array_equal(result.outputs["depth"].data, sent.data) and result.outputs["depth"].space == "data"


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


def test_a_client_that_comes_back_gets_the_news_of_a_running_job(shared):
    with shared.client() as first:
        first.submit(submit("running", steps=20, seconds_per_step=0.1))
        until(first, Progress)
    with shared.client() as second:
        second.fetch("running")
        seen = everything_until(second, Result, "running")
        assert any(isinstance(message, Progress) for message in seen)
        second.acknowledge("running")


def test_an_end_that_is_sent_twice_is_told_once(client):
    client.submit(submit("once"))
    client.fetch("once")
    client.fetch("once")
    until(client, Result, "once")
    client.submit(submit("other"))
    assert [type(m) for m in everything_until(client, Result) if m.job_id == "once"] == []
    client.acknowledge("once")
    client.cancel("once")  # too late: nothing comes of it
    assert client.run(submit("last")).outputs and client.poll(0.3) is None


def test_a_job_that_was_let_go_and_is_wanted_again_ends_visibly(client):
    job = submit("wanted", steps=5, seconds_per_step=0.1)
    client.submit(job)
    client.acknowledge("wanted")
    client.submit(job)
    assert isinstance(end_of(client, "wanted"), Result)


def test_the_same_job_twice_runs_once_and_another_one_needs_another_name(client):
    job = submit("twice")
    client.submit(job)
    until(client, Result)
    client.submit(job)
    assert until(client, Result).job_id == "twice"
    other_picture = Submit("twice", "echo", "tiny", {"image": ChannelImage(picture().data + 1, "scene-linear")}, (), {})
    for other in (submit("twice", steps=2), other_picture):
        with pytest.raises(JobFailed, match="submitted before") as caught:
            client.submit(other)
        assert caught.value.code == "job-id-reused"
    client.acknowledge("twice")


def test_another_clients_jobs_are_its_own(shared, tmp_path):
    guest_home = tmp_path / "guest"
    guest = Credentials.remote(Credentials.local(shared.home).engine_public, guest_home)
    words = [sys.executable, "-m", "engine_server", "keys", "add", "guest", guest.client.public, "--home", str(shared.home)]
    subprocess.run(words, cwd=ROOT, check=True)
    with shared.client() as owner, Client(shared.address, guest) as other:
        owner.submit(submit("private"))
        until(owner, Result)
        assert other.jobs() == ()
        other.fetch("private")
        assert until(other, Failed).code == "unknown-job"
        assert other.run(submit("private", steps=2)).info["steps"] == 2  # the same name, another owner
        owner.acknowledge("private")


@pytest.mark.parametrize(
    ("job", "code", "words"),
    [
        (submit("u1", task="paint"), "unknown-task", "no task 'paint'; there are material"),
        (submit("u2", task="material", model="huge"), "unknown-model", "no model 'huge'; installed: .*tiny"),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(client, job, code, words):
    with pytest.raises(JobFailed, match=words) as caught:
        client.run(job)
    assert caught.value.code == code


def test_cancelling_takes_effect_within_a_step(client):
    client.submit(submit("cancelled", steps=1000, seconds_per_step=0.5))
    until(client, Progress)
    client.cancel("cancelled")
    seen = everything_until(client, Cancelled, "cancelled")
    assert len(seen) <= 3  # the step that ran, and perhaps one whose news were on their way
    assert client.run(submit("after")).outputs


def test_a_waiting_job_is_cancelled_at_once(client):
    client.submit(submit("front", steps=20, seconds_per_step=0.1))
    client.submit(submit("behind"))
    assert client.jobs()[-1].state == "queued"
    client.cancel("behind")
    seen = everything_until(client, Result, "front")
    assert any(isinstance(message, Cancelled) and message.job_id == "behind" for message in seen)


def test_leaving_a_run_early_cancels_the_job(client):
    def leave(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.run(submit("left", steps=1000, seconds_per_step=0.05), on_progress=leave)
    wait_for(lambda: "left" not in [job.job_id for job in client.jobs()])


def test_a_run_has_a_time_limit(client):
    with pytest.raises(JobFailed, match="time limit") as caught:
        client.run(submit("endless", steps=1000, seconds_per_step=0.05), timeout=0.5)
    assert caught.value.code == "timeout"


def test_the_server_answers_while_the_worker_computes(client):
    client.submit(submit("busy", steps=1000, seconds_per_step=0.05))
    until(client, Progress)
    for _ in range(5):
        assert client.status().worker == "busy"
    with pytest.raises(ProtocolError, match="job is running"):
        client.unload()
    client.cancel("busy")
    assert isinstance(end_of(client, "busy"), Cancelled)


def test_unloading_ends_the_worker(launch):
    with launch().client() as client:
        client.run(submit("one"))
        pid = client.status().worker_pid
        assert client.unload().worker == "none"
        wait_for(lambda: not exists(pid))
        assert client.run(submit("two")).outputs and client.status().worker_pid != pid


def exists(pid: int) -> bool:
    """Is there a process of that number?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_full_queue_refuses_in_a_sentence(launch):
    with launch("--queue", "2").client() as client:
        for number in range(3):  # one runs, two wait
            client.submit(submit(f"q{number}", steps=1000, seconds_per_step=0.05))
            if number == 0:
                until(client, Progress)
        with pytest.raises(JobFailed, match="queue is full: 2 jobs wait") as caught:
            client.submit(submit("q3"))
        assert caught.value.code == "queue-full"
        client.cancel("q0")
        until(client, Progress, "q1")
        assert client.submit(submit("q3")).position == 1


def test_several_clients_at_once(shared):
    answers = {}

    def work(name: str) -> None:
        with shared.client() as client:
            answers[name] = client.run(submit(name, steps=3, seconds_per_step=0.05)).job_id

    threads = [threading.Thread(target=work, args=(f"both-{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers.values()) == ["both-0", "both-1", "both-2"]


def test_status_and_unloading_from_the_command_line(shared):
    def say(*words: str) -> str:
        command = [sys.executable, "-m", "engine_server", "status", "--home", str(shared.home), *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    with shared.client() as client:
        client.run(submit("before"))
    assert "worker   idle (process" in say()
    assert "worker   none" in say("--unload")
