# SPDX-License-Identifier: GPL-3.0-or-later
"""Why does an engine not answer? What the connection itself went through tells the causes apart."""

from __future__ import annotations

import zmq
from zmq.utils.monitor import recv_monitor_message

_NOBODY = "Nothing listens at {address}: start the engine, or mend the address."
_UNLISTED = (
    "The engine at {address} does not list this computer's key {key}: there, run"
    " `python -m engine_server keys add NAME '{key}'`."
)
_OTHER_KEY = (
    "What listens at {address} does not hold the engine's key that is set here: mend the key or the address"
    " (`python -m engine_server keys show` prints an engine's key)."
)
_SILENT = "The engine at {address} has not answered for {seconds:.0f} s: it was ended, hangs, or cannot be reached any more."

_CAUSES = {
    zmq.EVENT_CONNECT_RETRIED: _NOBODY,
    zmq.EVENT_CONNECTED: _OTHER_KEY,  # and nothing after it: the handshake stays unanswered
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: _UNLISTED,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: _OTHER_KEY,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: _OTHER_KEY,
    zmq.EVENT_HANDSHAKE_SUCCEEDED: _SILENT,
}


class Diagnosis:
    """Follows the connection of one client socket."""

    def __init__(self, socket: zmq.Socket, address: str, key: str) -> None:
        self._socket, self._address, self._key = socket, address, key
        self._monitor = socket.get_monitor_socket(sum(_CAUSES))
        self._meetings = 0
        self._cause = _NOBODY

    def sentence(self, seconds: float) -> str:
        """The likely cause, and what to do, after `seconds` without an answer."""
        self._read()
        return self._cause.format(address=self._address, key=self._key, seconds=seconds)

    def meetings(self) -> int:
        """How often the two ends have met: once more after a connection that broke."""
        self._read()
        return self._meetings

    def _read(self) -> None:
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            self._meetings += event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._judge(event)

    def _judge(self, event: int) -> None:
        """An engine that we have spoken to is the right one; what a connection met outweighs the retries after it."""
        if self._meetings:
            self._cause = _SILENT
        elif event == zmq.EVENT_CONNECT_RETRIED and self._cause in (_UNLISTED, _OTHER_KEY):
            return
        elif event != zmq.EVENT_CONNECTED or self._cause is not _UNLISTED:
            self._cause = _CAUSES[event]

    def close(self) -> None:
        """Stop following; to be called before the socket is closed."""
        self._socket.disable_monitor()
        self._monitor.close(0)
