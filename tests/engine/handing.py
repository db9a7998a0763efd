# SPDX-License-Identifier: GPL-3.0-or-later
"""For tests of files beside the messages: large jobs, clients of several kinds, and what lies in an engine's folder."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import zmq

from blender_addon.wire import FROM_ENGINE, ChannelImage, Client, Credentials, Result, Share, Shared, Submit, decode, encode
from blender_addon.wire.handover import Folder
from blender_addon.wire.reference import NAME
from blender_addon.wire.sockets import client_socket

from .conftest import ROOT, Engine
from .forwarding import Forwarder

SHAPE = (600, 800, 4)
BYTES = 600 * 800 * 4 * 4


def large(job_id: str, seed: int = 0, **options) -> Submit:
    """A job on eight megabytes."""
    data = np.random.default_rng(seed).random(SHAPE, np.float32)
    return Submit(job_id, "echo", "", {"image": ChannelImage(data, "scene-linear")}, (), options)


def right(result: Result, job: Submit) -> bool:
    """Does the result give the job's picture back?"""
    return np.array_equal(result.outputs["image"].data, job.inputs["image"].data)


def folder_of(engine: Engine) -> Path:
    """Where the engine wants files."""
    with engine.client() as client:
        return Path(client._ask(Share(""), Shared).folder)


def files_of(engine: Engine) -> dict[str, int]:
    """The files that lie there, with their sizes."""
    sizes = {}
    for file in folder_of(engine).iterdir():
        with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
            sizes[file.name] = file.stat().st_size
    return {name: size for name, size in sizes.items() if NAME.fullmatch(name)}


@contextlib.contextmanager
def through(engine: Engine):
    """A forwarder to the engine, and a client of it."""
    forwarder = Forwarder(engine.address)
    try:
        with Client(forwarder.address, Credentials.local(engine.home), timeout=30.0) as client:
            yield forwarder, client
    finally:
        forwarder.close()


class Raw:
    """A client that sends what it likes, by a connection that may use files."""

    def __init__(self, engine: Engine, identity: bytes) -> None:
        credentials = Credentials.local(engine.home)
        self._context = zmq.Context()
        self.socket = client_socket(self._context, engine.address, credentials.client, credentials.engine_public, identity)
        self.socket.linger, self.folder = 0, None
        self.socket.connect(engine.address)
        self.folder = Folder(self.ask(encode(Share(""), 1)).folder)
        assert self.ask(encode(Share(self.folder.proof()), 2)).agreed

    def ask(self, frames: list):
        """The next message after these frames."""
        self.socket.send_multipart(frames)
        assert self.socket.poll(20_000)
        return decode(self.socket.recv_multipart(), FROM_ENGINE, self.folder and self.folder.take).message

    def close(self) -> None:
        """End the connection."""
        self.folder.close()
        self.socket.close(0)
        self._context.term()


def killed(code: str, *words: str) -> str:
    """What a process says that runs this code until it is killed."""
    with subprocess.Popen([sys.executable, "-c", code, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        said = process.stdout.readline().decode()
        process.kill()
    return said
