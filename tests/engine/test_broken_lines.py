# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects what is asked over a line that breaks: the client asks again over the next one, and each job runs once. And messages
with numbers that no computer counts with, keys that are none, and frames of just the allowed size."""

import select
import socket
import threading

import numpy as np
import pytest
import zmq

from blender_addon.wire import ChannelImage, Client, Credentials, Submit
from blender_addon.wire import sockets as wire_sockets
from blender_addon.wire.sockets import ZAP_DOMAIN, client_socket, server_socket
from engine_server.zap import Doorkeeper

HUGE = 10**400


class Line:
    """A port that hands on to an engine's, and breaks once: after so many bytes to the engine, or before what comes back then."""

    def __init__(self, address: str, limit: int, before_reply: bool) -> None:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        self.engine, self.limit, self.before_reply, self.broken = (host, int(port)), limit, before_reply, False
        self.door = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.door.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.door.accept()
            except OSError:
                return
            threading.Thread(target=self.hand_on, args=(client, socket.create_connection(self.engine)), daemon=True).start()

    def hand_on(self, client: socket.socket, engine: socket.socket) -> None:
        sent = 0
        with client, engine:
            while True:
                for end in select.select([client, engine], [], [])[0]:
                    data = end.recv(65536)
                    breaks = not self.broken and sent > self.limit and (end is engine or not self.before_reply)
                    if breaks or not data:
                        self.broken |= breaks
                        return
                    (engine if end is client else client).sendall(data)
                    sent += len(data) if end is client else 0


@pytest.mark.parametrize("before_reply", [False, True])
def test_a_line_that_breaks_once_costs_nothing_but_its_time(launch, before_reply):
    engine = launch()
    line = Line(engine.address, 1_000_000, before_reply)
    picture = ChannelImage(np.random.default_rng(0).random((400, 400, 3), np.float32), "scene-linear")
    with Client(line.address, Credentials.local(engine.home), timeout=1.0) as client:
        client._may_share = False  # over the line, not in a file
        client.hello()
        result = client.run(Submit("once", "echo", "", {"image": picture}, (), {}), timeout=20)
        assert np.array_equal(result.outputs["image"].data, picture.data) and line.broken
    line.door.close()
    with engine.client() as other:
        assert other.status().done == 1


ODD = {
    "protocol": '{"protocol": %d, "type": "hello", "request": 1, "body": {}}' % int("9" * 4250),
    "hello": '{"protocol": 2, "type": "hello", "request": 1, "body": {"protocol": %d, "client": "x"}}' % HUGE,
    "option": '{"protocol": 2, "type": "submit", "request": 1, "body": {"job_id": "a", "task": "echo", "model": "", "inputs": {},'
    ' "outputs": [], "options": {"seed": %d}}}' % HUGE,
    "buffer": '{"protocol": 2, "type": "submit", "request": 1, "body": {"job_id": "a", "task": "echo", "model": "", "inputs": {"image":'
    ' {"dtype": "float32", "shape": [1, 1, 1], "space": "data", "buffer": %d}}, "outputs": [], "options": {}}}' % int("9" * 4250),
}


@pytest.mark.parametrize("header", ODD.values(), ids=ODD)
def test_a_number_beyond_all_bounds_is_refused_and_the_engine_goes_on(shared, header):
    credentials, context = Credentials.local(shared.home), zmq.Context()
    asks = client_socket(context, shared.address, credentials.client, credentials.engine_public, b"odd")
    asks.connect(shared.address)
    asks.send_multipart([b"TEAMWORK", header.encode()])
    assert asks.poll(10_000) and len(b"".join(asks.recv_multipart())) < 5000
    asks.close(0), context.term()
    assert shared.process.poll() is None
    with shared.client() as client:
        assert client.status()


@pytest.mark.parametrize("content", ["KEY".encode("utf-16"), b"\x00\x05\x16\x07", b"no key"])
def test_a_file_among_the_keys_that_holds_none_shuts_nobody_else_out(launch, content):
    engine = launch()
    with engine.client() as client:
        client.hello()
    (engine.home / "keys" / "clients" / "colleague.public").write_bytes(content)
    with engine.client() as client:
        assert client.status() and engine.process.poll() is None


def test_a_frame_of_just_the_allowed_size_arrives(monkeypatch, tmp_path):
    """Encryption makes it larger, and that is what the socket counts."""
    monkeypatch.setattr(wire_sockets, "MAX_BUFFER_BYTES", 1_000_000)
    keys, context = Credentials.local(tmp_path), zmq.Context()
    engine_keys = wire_sockets.KeyPair(*(key.decode() for key in zmq.curve_keypair()))
    door = Doorkeeper(context, {ZAP_DOMAIN: lambda key: True})
    server = server_socket(context, "tcp://127.0.0.1:*", engine_keys)
    address = server.last_endpoint.decode()
    client = client_socket(context, address, keys.client, engine_keys.public, b"c")
    try:
        client.connect(address)
        assert door.socket.poll(5000)
        door.answer()
        client.send(bytes(1_000_000))
        assert server.poll(5000) and len(server.recv_multipart()[1]) == 1_000_000
    finally:
        context.destroy(0)
