# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten thousand mutated messages from a client that is let in: the engine refuses them and serves on, no larger than before."""

from __future__ import annotations

import random

import zmq

from blender_addon.wire import Client, Credentials, KeyRing
from blender_addon.wire.sockets import client_socket
from tests.wire.mutations import mutated
from tests.wire.test_messages import changed, frames_of, image
from tests.wire.test_mutations import seeds

from .conftest import submit
from .test_crowds import MIB, memory_of

COUNT, AT_ONCE = 10_000, 100


def test_ten_thousand_mutated_messages_harm_neither_the_engine_nor_its_jobs(launch, tmp_path):
    """They come by a key of their own, so that the jobs among them are nobody else's."""
    engine = launch("--queue", "4", "--log-level", "ERROR")
    hostile = Credentials.remote(Credentials.local(engine.home).engine_public, tmp_path / "hostile")
    KeyRing(engine.home).add("hostile", hostile.client.public)
    context = zmq.Context()
    raw = client_socket(context, engine.address, hostile.client, hostile.engine_public, b"hostile")
    raw.connect(engine.address)
    chance, valid = random.Random(1), seeds()
    with engine.client(timeout=30.0) as client:
        for number in range(0, COUNT, AT_ONCE):
            for _ in range(AT_ONCE):
                raw.send_multipart(mutated(chance.choice(valid), chance) or [b""])
            while raw.poll(0):
                raw.recv_multipart()
            assert client.status().instance  # in step with the engine
            if number == COUNT // 5:
                before = memory_of(engine.process.pid)
        assert client.run(submit("after")).outputs
        assert memory_of(engine.process.pid) < before + 16 * MIB
    raw.close(0)
    context.term()
    assert "Traceback" not in engine.log.read_text()


def test_odd_text_in_a_message_comes_back_in_one_short_line(shared):
    credentials = Credentials.local(shared.home)
    context = zmq.Context()
    raw = client_socket(context, shared.address, credentials.client, credentials.engine_public, b"odd")
    raw.connect(shared.address)
    for text in ("a\nb", "x" * 9000, "\u202e"):
        for place in ("dtype", "space"):
            raw.send_multipart(changed(frames_of(), body=image(**{place: text})))
            assert raw.poll(10_000), (place, text[:5])
            assert b'"refused"' in (reply := raw.recv_multipart())[1] and len(reply[1]) < 1000
    raw.close(0)
    context.term()
    with Client(shared.address, credentials) as client:
        assert client.status()
