# SPDX-License-Identifier: GPL-3.0-or-later
"""What the wire is compared with: processes that give an image back by other means. `python -m` this file is the far end.

Each way is a context manager that gives a function: an H x W x 3 float32 image goes there and comes back.
"""

from __future__ import annotations

import base64
import http.client
import http.server
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import zmq
from PIL import Image

from scripts.environment import ROOT

Echo = Callable[[np.ndarray], np.ndarray]


@contextmanager
def copies() -> Iterator[Echo]:
    """Two copies in memory, there and back: what no transport can beat."""
    buffers: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}

    def echo(image: np.ndarray) -> np.ndarray:
        there, back = buffers.setdefault(image.shape, (np.empty_like(image), np.empty_like(image)))
        np.copyto(there, image)
        np.copyto(back, there)
        return back

    yield echo


@contextmanager
def zeromq(curve: bool) -> Iterator[Echo]:
    """The bytes alone over one ZeroMQ connection on the loopback, with or without encryption."""
    context = zmq.Context()
    server, client = zmq.curve_keypair(), zmq.curve_keypair()
    with _far_end("zeromq", *(key.decode() for key in server if curve)) as port, context.socket(zmq.DEALER) as socket:
        if curve:
            socket.curve_serverkey, (socket.curve_publickey, socket.curve_secretkey) = server[0], client
        socket.linger = 0
        socket.connect(f"tcp://127.0.0.1:{port}")

        def echo(image: np.ndarray) -> np.ndarray:
            socket.send(image, copy=False)
            return np.frombuffer(socket.recv(copy=False), np.float32).reshape(image.shape)

        yield echo
    context.term()


@contextmanager
def png_over_http() -> Iterator[Echo]:
    """8-bit PNG as base64 in JSON, posted to a web server, as many image services do it. Loses what 8 bits cannot hold."""
    with _far_end("http") as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)

        def echo(image: np.ndarray) -> np.ndarray:
            connection.request("POST", "/", _to_json((image * 255).astype(np.uint8)), {"Content-Type": "application/json"})
            return _from_json(connection.getresponse().read()).astype(np.float32) / 255

        yield echo
        connection.close()


def _to_json(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return json.dumps({"image": base64.b64encode(file.getvalue()).decode()}).encode()


def _from_json(text: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(json.loads(text)["image"]))))


@contextmanager
def _far_end(kind: str, *words: str) -> Iterator[int]:
    """A process that echoes; gives its port."""
    command = [sys.executable, "-m", __name__, kind, *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _serve_zeromq(public: str = "", secret: str = "") -> None:
    socket = zmq.Context().socket(zmq.ROUTER)
    if secret:
        socket.curve_server, socket.curve_publickey, socket.curve_secretkey = True, public.encode(), secret.encode()
    print(socket.bind_to_random_port("tcp://127.0.0.1"), flush=True)
    while True:
        socket.send_multipart(socket.recv_multipart(copy=False), copy=False)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # noqa: N802, the name that the library calls
        body = _to_json(_from_json(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal belongs to the figures."""


def _serve_http() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    {"zeromq": _serve_zeromq, "http": _serve_http}[sys.argv[1]](*sys.argv[2:])
