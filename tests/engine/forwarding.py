# SPDX-License-Identifier: GPL-3.0-or-later
"""A forwarder such as an SSH tunnel, which counts the bytes that go through it."""

from __future__ import annotations

import selectors
import socket
import threading


class Forwarder:
    """Listens on the loopback at `address` and forwards to another one; `bytes` have gone through, both ways together."""

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{}".format(self._listener.getsockname()[1])
        self.bytes = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while self._listener.fileno() >= 0:
                for key, _ in selector.select(0.1):
                    if key.fileobj is self._listener:
                        self._accept(selector)
                    else:
                        self._pass_on(selector, key.fileobj, key.data)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        near, far = self._listener.accept()[0], socket.create_connection(self._target)
        selector.register(near, selectors.EVENT_READ, far)
        selector.register(far, selectors.EVENT_READ, near)

    def _pass_on(self, selector: selectors.BaseSelector, source: socket.socket, to: socket.socket) -> None:
        try:
            data = source.recv(1 << 20)
            to.sendall(data)
        except OSError:
            data = b""
        self.bytes += len(data)
        if not data:
            for each in (source, to):
                if each in [key.fileobj for key in selector.get_map().values()]:
                    selector.unregister(each)
                each.close()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()
