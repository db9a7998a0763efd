# SPDX-License-Identifier: GPL-3.0-or-later
"""The private channel between the server and its workers: the wire's own frames on loopback, with keys of one use each.

The server writes one line of JSON (`Orders`) into the standard input of a worker that it has started, and leaves that
open. The worker connects, says `WorkerState`, and then gets one `Submit` at a time, as the client sent it, and `Cancel`.
It ends when its standard input closes, so also when the server is killed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from blender_addon.wire.messages import Cancel, Cancelled, Failed, Message, Progress, Registry, Result, Submit
from blender_addon.wire.schema import Count

DOMAIN = "worker"


@dataclass(frozen=True)
class Orders:
    """What a worker needs to know at its start. `token` is its name on the channel; keys are Z85."""

    address: str
    server_public: str
    public: str
    secret: str = field(repr=False)
    token: str
    device: str

    def line(self) -> bytes:
        """The orders as one line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @staticmethod
    def read(line: bytes) -> Orders:
        """The orders from their line."""
        return Orders(**json.loads(line))


@dataclass(frozen=True)
class WorkerState(Message):
    """A worker is ready, or its device's memory has changed (bytes; 0: not known before the first model is loaded)."""

    device: str
    memory_free: Count
    memory_total: Count


FROM_WORKER = Registry.of("worker", WorkerState, Progress, Result, Failed, Cancelled)
TO_WORKER = Registry.of("engine", Submit, Cancel)
