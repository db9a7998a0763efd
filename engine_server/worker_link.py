# SPDX-License-Identifier: GPL-3.0-or-later
"""The private channel between the server and its workers: the wire's own frames, where nobody else can reach them.

Where the system has sockets with a place in a folder, that is one which only this user may enter: nothing has to be
encrypted, which takes half off the time of a large image. Elsewhere, and for workers on other computers, it is a TCP port
with keys of one use each.

The server writes one line of JSON (`Orders`) into the standard input of a worker that it has started, and leaves that
open. The worker connects, says `WorkerState`, and then gets one `Submit` at a time, as the client sent it, and `Cancel`.
It ends when its standard input closes, so also when the server is killed; before a close on purpose stands `GOODBYE`. An
actor of a cluster gets the line as an argument, and ends with the cluster's connection to the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import zmq

from blender_addon.wire.messages import Cancel, Cancelled, Failed, Message, Progress, Registry, Result, Submit
from blender_addon.wire.credentials import KeyPair
from blender_addon.wire.schema import Count
from blender_addon.wire.sockets import client_socket, private_client_socket, private_server_socket, server_socket

DOMAIN = "worker"
GOODBYE = b"goodbye\n"
PREFIX, SOCKET = "teamwork-", "workers"
SETTLED = 10.0
"""Seconds after which a socket that is to listen does."""
LONGEST_PATH = 100
"""Of a socket in a folder, by the systems' own limits of 104 and 108."""


class Channel:
    """The server's end. `address` is where workers connect, `keys` are the server's, empty where there is no encryption.

    `listen` is a TCP address that workers on other computers reach; without one, only this user's processes do. Raises
    `zmq.ZMQError` where it cannot listen.
    """

    def __init__(self, context: zmq.Context, listen: str = "") -> None:
        self._folder = None if listen else _own_folder()
        if self._folder:
            self.keys, self.socket = KeyPair("", ""), private_server_socket(context, f"ipc://{self._folder.name}/{SOCKET}")
        else:
            self.keys = key_pair()
            self.socket = server_socket(context, listen or "tcp://127.0.0.1:0", self.keys, DOMAIN)
        self.address = self.socket.last_endpoint.decode()

    def close(self) -> None:
        """End it, and leave nothing behind."""
        self.socket.close()
        if self._folder:
            self._folder.cleanup()


def _own_folder() -> tempfile.TemporaryDirectory | None:
    """A new folder that only this user may enter, for a socket; None where there is no such thing."""
    if os.name != "posix" or not zmq.has("ipc"):
        return None
    _sweep(Path(tempfile.gettempdir()))
    folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)  # mode 0700
    return folder if len(folder.name) < LONGEST_PATH else None


def _sweep(place: Path) -> None:
    """Remove what this user's engines have left that were killed: folders with a socket where nobody listens any more."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asked:
            try:
                about = folder.stat()
                if about.st_uid == os.getuid() and time.time() - about.st_mtime > SETTLED:
                    asked.connect(str(folder / SOCKET))
            except ConnectionRefusedError:
                shutil.rmtree(folder, ignore_errors=True)


def key_pair() -> KeyPair:
    """New keys."""
    return KeyPair(*(key.decode() for key in zmq.curve_keypair()))


@dataclass(frozen=True)
class Orders:
    """What a worker needs to know at its start. `token` is its name on the channel; keys are Z85.

    Warm models may take `warm_bytes`, the worker itself `memory_limit` of its device (0: what is usual, and all of it).
    `folder` is where large images are handed over, "" if nowhere. `warm`: import what jobs need before there is one.
    """

    address: str
    server_public: str
    public: str
    secret: str = field(repr=False)
    token: str
    device: str
    warm_bytes: int = 0
    memory_limit: int = 0
    folder: str = ""
    warm: bool = False

    def line(self) -> bytes:
        """The orders as one line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    def connect(self, context: zmq.Context, on_break: Callable[[], None] | None = None) -> zmq.Socket:
        """The worker's end of the channel. `on_break` is called, in a thread, when the connection is lost."""
        identity = self.token.encode()
        if self.server_public:
            socket = client_socket(context, self.address, KeyPair(self.public, self.secret), self.server_public, identity)
        else:
            socket = private_client_socket(context, self.address, identity)
        if on_break:
            monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            threading.Thread(target=lambda: monitor.recv_multipart() and on_break(), name="channel", daemon=True).start()
        socket.connect(self.address)
        return socket

    @staticmethod
    def read(line: bytes) -> Orders:
        """The orders from their line."""
        return Orders(**json.loads(line))


@dataclass(frozen=True)
class WorkerState(Message):
    """A worker is ready, or its device's memory has changed (bytes; 0: not known before the first model is loaded).

    `warm` names the models that stay loaded.
    """

    device: str
    memory_free: Count
    memory_total: Count
    warm: tuple[str, ...] = ()


@dataclass(frozen=True)
class InFiles(Message):
    """From now on results may come in files, or may not: those who get them can read them, or cannot. At first they may not."""

    allowed: bool


FROM_WORKER = Registry.of("worker", WorkerState, Progress, Result, Failed, Cancelled)
TO_WORKER = Registry.of("engine", InFiles, Submit, Cancel)
