# SPDX-License-Identifier: GPL-3.0-or-later
"""Large images beside the messages, with real engines: who gets files, who gets bytes, and that nothing is left behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import zmq

from blender_addon.wire import (
    FROM_ENGINE,
    Credentials,
    Failed,
    HandoverLost,
    JobFailed,
    KeyRing,
    Progress,
    Result,
    Share,
    Submit,
    decode,
    encode,
)
from blender_addon.wire.exchange import Exchange
from blender_addon.wire.handover import Folder
from blender_addon.wire.reference import Reference
from blender_addon.wire.sockets import client_socket

from .conftest import end_of, until, wait_for
from .handing import BYTES, Raw, files_of, folder_of, large, right, through


@pytest.fixture
def raw(shared, request):
    """A raw client of the shared engine."""
    made = Raw(shared, request.node.name.encode()[:100])
    yield made
    made.close()


def test_large_images_go_beside_the_connection_and_come_back_exactly(shared):
    with through(shared) as (forwarder, client):
        for seed in range(3):
            job = large(f"beside-{seed}", seed)
            assert right(client.run(job), job)
        assert forwarder.bytes < 100_000


def not_the_same(folder: Path) -> None:
    """As on another computer, with a folder of that name by chance."""
    (folder / "proof").write_text("0" * 32)


def open_to_others(folder: Path) -> None:
    """A folder that is not for one user alone."""
    folder.chmod(0o755)


def away(folder: Path) -> None:
    """As behind a tunnel, or in a container: the folder is not there."""
    folder.rename(folder.with_name(f"{folder.name}-away"))


@pytest.mark.parametrize("harm", [not_the_same, open_to_others, away], ids=lambda harm: harm.__name__)
def test_a_client_that_cannot_use_the_folder_gets_bytes_without_a_word(launch, harm):
    engine = launch()
    folder = folder_of(engine)
    harm(folder)
    with through(engine) as (forwarder, client):
        job = large("far")
        assert right(client.run(job), job)
        assert forwarder.bytes > 2 * BYTES
    if harm is away:
        folder.with_name(f"{folder.name}-away").rename(folder)


def test_a_key_alone_opens_no_files(shared, tmp_path):
    """A client elsewhere, whose key is listed, guesses a reference."""
    guest = Credentials.remote(Credentials.local(shared.home).engine_public, tmp_path / "guest")
    KeyRing(shared.home).add("far", guest.client.public)
    context = zmq.Context()
    far = client_socket(context, shared.address, guest.client, guest.engine_public, b"far")
    far.connect(shared.address)
    folder = Folder(str(folder_of(shared)))
    frames = encode(large("guess"), 1, folder.lay_down)
    for frames in (encode(Share("0" * 32), 1), frames):
        far.send_multipart(frames)
        assert far.poll(20_000)
        said = decode(far.recv_multipart(), FROM_ENGINE).message
    assert isinstance(said, Failed) and said.code == "handover-lost"
    folder.close()
    far.close(0)
    context.term()


HARMS = {
    "gone": lambda file: file.unlink(),
    "short": lambda file: os.truncate(file, 1000),
    "long": lambda file: os.truncate(file, BYTES + 1),
    "link": lambda file: (file.rename(file.with_name("other")), file.symlink_to(file.with_name("other"))),
    "readable": lambda file: file.chmod(0o644),
    "pipe": lambda file: (file.unlink(), os.mkfifo(file, 0o600)),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_submission_with_a_file_that_is_not_right_is_told_so_and_the_engine_goes_on(shared, raw, harm):
    frames = encode(large(harm), 3, raw.folder.lay_down)
    HARMS[harm](Path(raw.folder.path) / Reference.parse(frames[2]).name)
    said = raw.ask(frames)
    assert isinstance(said, Failed) and (said.job_id, said.code) == (harm, "handover-lost")
    with shared.client() as client:
        assert harm not in [job.job_id for job in client.jobs()]


def test_a_client_whose_files_are_lost_sends_the_bytes_and_its_user_never_knows(shared, monkeypatch):
    with through(shared) as (forwarder, client):
        client.hello()
        lay_down = Folder.lay_down

        def lose(self, data, summed):
            reference = lay_down(self, data, summed)
            self.remove(Reference.parse(reference).name)
            return reference

        monkeypatch.setattr(Folder, "lay_down", lose)
        job = large("silent")
        assert right(client.run(job), job) and forwarder.bytes > 2 * BYTES


def test_a_result_that_the_client_cannot_read_comes_in_the_message(shared, monkeypatch):
    with through(shared) as (forwarder, client):
        job, taken = large("unread"), []

        def lose(self, *reference):
            taken.append(reference)
            raise HandoverLost("As if it were out of reach.")

        client.hello()
        monkeypatch.setattr(Exchange, "take", lose)
        assert right(client.run(job), job)
        assert len(taken) == 1 and BYTES < forwarder.bytes < 2 * BYTES


def test_a_file_that_is_cut_short_before_the_worker_reads_it_fails_one_job(shared, raw):
    with shared.client() as client:
        client.submit(Submit("front", "echo", "", {}, (), {"steps": 200, "seconds_per_step": 0.05}))
        until(client, Progress)
        pid = client.status().worker_pid
        frames = encode(large("cut"), 3, raw.folder.lay_down)
        assert raw.ask(frames).job_id == "cut"
        os.truncate(Path(raw.folder.path) / Reference.parse(frames[2]).name, 1000)
        client.cancel("front")
        assert raw.socket.poll(20_000)
        failed = decode(raw.socket.recv_multipart(), FROM_ENGINE).message
        assert isinstance(failed, Failed) and failed.code == "handover-lost" and "another size" in failed.sentence
        job = large("after-the-cut")
        assert right(client.run(job), job) and client.status().worker_pid == pid
    assert Reference.parse(frames[2]).name not in files_of(shared)


def test_a_result_in_files_is_there_for_all_until_it_is_acknowledged(shared):
    """For two clients that read files, one of them twice, and for one that cannot."""
    job = large("often")
    with shared.client() as first, shared.client() as second, through(shared) as (forwarder, far):
        first.submit(job)
        results = [until(first, Result)]
        second.hello()
        for client in (first, second, far):
            client.fetch("often")
            results.append(until(client, Result))
        assert all(right(result, job) for result in results) and forwarder.bytes > BYTES
        assert BYTES in files_of(shared).values()
        first.acknowledge("often")
        assert first.status()  # the engine has heard it
        second.fetch("often")
        assert until(second, Failed).code == "unknown-job"


def test_a_result_whose_file_is_gone_is_told_as_such(shared):
    with shared.client() as client:
        before = files_of(shared)
        client.submit(large("vanished"))
        until(client, Result)
        for name in files_of(shared).keys() - before.keys():
            (folder_of(shared) / name).unlink(missing_ok=True)
        client.fetch("vanished")
        assert until(client, Failed).code == "result-gone"
        client.acknowledge("vanished")


def test_the_same_job_by_file_and_by_message_is_one(shared):
    job = large("same")
    with shared.client() as near, through(shared) as (_, far):
        near.submit(job)
        assert right(until(near, Result), job)
        far._may_share = False
        far.submit(job)
        assert right(until(far, Result), job)
        near.submit(job)
        assert right(until(near, Result), job)
        for client in (near, far):
            with pytest.raises(JobFailed, match="submitted before"):
                client.submit(large("same", seed=1))
        near.acknowledge("same")


def test_a_reference_that_is_sent_twice_harms_no_job(shared, raw):
    with shared.client() as client:
        client.submit(Submit("before", "echo", "", {}, (), {"steps": 200, "seconds_per_step": 0.05}))
        until(client, Progress)
        job = large("twice")
        frames = encode(job, 3, raw.folder.lay_down)
        assert raw.ask(frames).job_id == "twice"
        for again in (frames, [frames[0], bytes(frames[1]).replace(b'"twice"', b'"other"'), frames[2]]):
            assert raw.ask(again).code == "handover-lost"
        client.fetch("twice")
        client.cancel("before")
        assert right(until(client, Result, "twice"), job)
        client.acknowledge("twice")


def test_a_job_for_a_damaged_team_is_told_what_is_wrong_and_leaves_no_file(launch, models, tmp_path):
    shutil.copytree(models / "tiny", tmp_path / "more" / "odd")
    (tmp_path / "more" / "odd" / "team.json").write_text("{ oops")
    engine = launch("--models", str(tmp_path / "more"))
    with engine.client() as client:
        inputs = large("odd").inputs
        with pytest.raises(JobFailed, match=r"odd/team\.json is not a JSON file: mend it") as caught:
            client.run(Submit("odd", "material", "odd", inputs, (), {}))
        assert caught.value.code == "bad-request" and not files_of(engine)


def test_a_refused_or_cancelled_job_leaves_no_file(launch):
    engine = launch("--queue", "1")
    with engine.client() as client:
        client.submit(Submit("runs", "echo", "", {}, (), {"steps": 1000, "seconds_per_step": 0.05}))
        until(client, Progress)
        with pytest.raises(JobFailed, match="no task"):
            client.submit(Submit("unknown", "paint", "", large("any").inputs, (), {}))
        client.submit(large("waits"))
        assert list(files_of(engine).values()) == [BYTES]
        with pytest.raises(JobFailed, match="queue is full"):
            client.submit(large("too-many", 1))
        assert list(files_of(engine).values()) == [BYTES]
        client.cancel("waits")
        end_of(client, "waits")
        wait_for(lambda: not files_of(engine))
        client.cancel("runs")
