# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker as an actor of a Ray cluster. Ray makes one on a computer that has room for it, and ends it there."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from .. import __version__
from ..device import limit_memory
from ..logs import set_up_logging
from ..worker import Worker
from ..worker_link import Orders

log = logging.getLogger(__name__)


class WorkerActor:
    """What Ray starts on the other computer. Its methods are called once each, in this order."""

    def where(self) -> int:
        """Its process id."""
        return os.getpid()

    def serve(self, version: str, line: str, variables: Mapping[str, str]) -> None:
        """Take jobs for ever. `variables` count where this computer's own environment says nothing else.

        Raises `RuntimeError` where another version of this package is installed.
        """
        if version != __version__:
            raise RuntimeError(f"it has version {__version__} of this engine, where {version} is needed")
        for name, value in variables.items():
            os.environ.setdefault(name, value)
        set_up_logging()
        orders = Orders.read(line.encode())
        limit_memory(orders.device, orders.memory_limit)
        Worker(orders, _end).serve()


def _end() -> None:
    """What was on its way when the channel broke is lost, a job or its result: whoever has ended gets a successor that does it."""
    log.error("the connection to the engine broke")
    os._exit(1)
