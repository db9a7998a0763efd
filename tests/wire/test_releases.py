# SPDX-License-Identifier: GPL-3.0-or-later
"""A client and an engine of different releases under one version of the protocol, on a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
import zmq

from blender_addon.wire import FROM_CLIENT, PROTOCOL, Client, Credentials, VersionMismatch, decode, encode
from blender_addon.wire.credentials import KeyPair
from blender_addon.wire.messages import Alive, Heartbeat, Hello, ModelInfo, Welcome

MODEL = ModelInfo("nano", "Nano", "CC0-1.0", (), (), 0, 0, 0, 0)
ANSWERS = {
    Hello: Welcome(PROTOCOL, "9.0", "cpu", 0, 0, (MODEL,), (), "other"),
    Heartbeat: Alive("other", ()),
}


class OtherEngine(threading.Thread):
    """Greets with a Welcome whose body `change` has made that of another release."""

    def __init__(self, change: Callable[[dict], None]) -> None:
        super().__init__(daemon=True)
        self._change, self._context = change, zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        ours, client = (KeyPair(*(key.decode() for key in zmq.curve_keypair())) for _ in range(2))
        self._socket.curve_server = True
        self._socket.curve_publickey, self._socket.curve_secretkey = ours.public.encode(), ours.secret.encode()
        self.address = f"127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self.credentials, self._done = Credentials(client, ours.public), threading.Event()

    def run(self) -> None:
        while not self._done.is_set():
            if self._socket.poll(50):
                route, *frames = self._socket.recv_multipart()
                self._socket.send_multipart([route, *self._answer(frames)])
        self._context.destroy(0)

    def _answer(self, frames: list[bytes]) -> list:
        asked = decode(frames, FROM_CLIENT)
        magic, text = encode(ANSWERS[type(asked.message)], asked.request)
        header = json.loads(text)
        if header["type"] == "welcome":
            self._change(header["body"])
        return [magic, json.dumps(header).encode()]

    def close(self) -> None:
        """End it."""
        self._done.set()
        self.join()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda body: body["models"][0].update(tint=1),
            "'tint' in welcome.models[0], which is not known here: update the add-on in Blender.",
        ),
        (lambda body: body["models"][0].pop("tasks"), "no 'tasks' in welcome.models[0]: update the engine."),
        (
            lambda body: body.update(tint=1) or body.pop("tasks"),
            "'tint' and not 'tasks' in welcome: update both to the same release.",
        ),
    ],
)
def test_an_engine_of_another_release_says_at_once_which_end_to_update(change, told):
    engine = OtherEngine(change)
    engine.start()
    try:
        with Client(engine.address, engine.credentials) as client, pytest.raises(VersionMismatch) as caught:
            client.hello()
    finally:
        engine.close()
    assert str(caught.value) == f"Both ends speak version {PROTOCOL} of the Teamwork protocol, but the engine sent {told}"
