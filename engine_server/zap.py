# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may connect: answers ZAP (ZeroMQ RFC 27), which the sockets of one context ask about each new connection's key."""

from __future__ import annotations

import logging
from collections.abc import Callable

import zmq
from zmq.utils import z85

log = logging.getLogger(__name__)

ENDPOINT = "inproc://zeromq.zap.01"
VERSION = b"1.0"

Admits = Callable[[str], bool]


class Doorkeeper:
    """Holds, for each ZAP domain, the test that a public key (Z85) must pass. Its `socket` belongs into the poll loop."""

    def __init__(self, context: zmq.Context, domains: dict[str, Admits]) -> None:
        self._domains = domains
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(ENDPOINT)

    def answer(self) -> None:
        """Answer the one question that waits."""
        version, request, domain, address, _, mechanism, *credentials = self.socket.recv_multipart()
        key = z85.encode(credentials[0]) if mechanism == b"CURVE" and len(credentials) == 1 else b""
        if version == VERSION and key and self._admits(domain.decode(), key.decode()):
            self.socket.send_multipart([VERSION, request, b"200", b"OK", key, b""])
        else:
            log.warning("refused a connection from %s: its key is not listed", address.decode(errors="replace"))
            self.socket.send_multipart([VERSION, request, b"400", b"The key is not listed", b"", b""])

    def _admits(self, domain: str, key: str) -> bool:
        test = self._domains.get(domain)
        return test is not None and test(key)

    def close(self) -> None:
        """Admit nobody any more."""
        self.socket.close()
