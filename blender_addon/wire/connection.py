# SPDX-License-Identifier: GPL-3.0-or-later
"""A client's two connections to one engine: messages on the first, heartbeats on the second.

An image of some hundred megabytes may keep the first one busy for longer than an engine may be silent. A heartbeat
never waits behind it, so silence means what it says.
"""

from __future__ import annotations

import os
import time

import zmq

from .address import full_address
from .credentials import Credentials
from .diagnosis import Diagnosis
from .errors import EngineSilent, HandoverLost, WireError
from .exchange import Exchange
from .frames import Envelope, decode, encode
from .messages import FROM_ENGINE, Alive, Heartbeat, Message
from .pulse import INTERVAL, Pulse
from .sockets import client_socket
from .wakeup import Wakeup


class Connection:
    """Sends and receives messages, and raises `EngineSilent` when the engine leaves `timeout` seconds unanswered.

    `files` is for large images, where the engine is this user's own on this computer. `woken` says that another thread has
    called `wake`; whoever has seen it makes it False.
    """

    def __init__(self, address: str, credentials: Credentials, timeout: float) -> None:
        self.address, self.timeout = full_address(address), timeout
        if "*" in self.address:
            raise WireError(f"{self.address} is where an engine listens, on all its addresses: give its name or one of its addresses.")
        self.instance: str | None = None
        self.woken = False
        self.files = Exchange()
        self._pulse = Pulse()
        self._context = zmq.Context()
        self._main, self._beat = (self._socket(credentials) for _ in range(2))
        self._diagnosis = Diagnosis(self._main, self.address, credentials.client.public)
        self._poller, self._wakeup = zmq.Poller(), Wakeup()
        self._poller.register(self._wakeup.socket, zmq.POLLIN)
        for socket in (self._main, self._beat):
            self._poller.register(socket, zmq.POLLIN)
            socket.connect(self.address)

    def _socket(self, credentials: Credentials) -> zmq.Socket:
        # The first byte of a name that a client chooses must not be zero.
        identity = b"c" + os.urandom(16)
        return client_socket(self._context, self.address, credentials.client, credentials.engine_public, identity)

    def send(self, message: Message, request: int | None = None) -> None:
        """Hand the message to the connection. Raises `ProtocolError` if it is over a limit, `EngineSilent` if jammed."""
        self._send(self._main, message, request)

    def _send(self, socket: zmq.Socket, message: Message, request: int | None = None) -> None:
        try:
            socket.send_multipart(encode(message, request, self.files.lay_down), zmq.NOBLOCK, copy=False)
        except zmq.Again as error:
            raise EngineSilent(self._diagnosis.sentence(self.timeout)) from error

    @property
    def meeting(self) -> tuple[str | None, int]:
        """Which engine it is, and how often this connection to it has been made, once at least: another after a break."""
        return self.instance, max(1, self._diagnosis.meetings())

    def wake(self) -> None:
        """Have `receive` return now, or the next time at once; from any thread."""
        self._wakeup.wake()

    def receive(self, wait: float) -> list[Envelope]:
        """The next messages, none after `wait` seconds or `wake`, heartbeats left out. Raises `EngineSilent` in the end."""
        self._ask(time.monotonic())
        ready = dict(self._poller.poll(max(0.0, min(wait, INTERVAL / 2)) * 1000))
        if self._wakeup.socket.fileno() in ready:
            self._wakeup.drain()
            self.woken = True
        received = [self._read(socket) for socket in (self._beat, self._main) if socket in ready]
        self._judge(time.monotonic(), bool(received))
        return [envelope for envelope in received if envelope is not None and not self._is_pulse(envelope)]

    def _ask(self, now: float) -> None:
        if self._pulse.due(now):
            self._pulse.asked(now)
            self._send(self._beat, Heartbeat())

    def _read(self, socket: zmq.Socket) -> Envelope | None:
        try:
            envelope = decode(socket.recv_multipart(copy=False), FROM_ENGINE, self.files.take)
        except HandoverLost as error:
            self.files.lost.append(error.job_id)
            return None
        self.files.note(envelope)
        self.instance = getattr(envelope.message, "instance", self.instance)
        return envelope

    def _judge(self, now: float, heard: bool) -> None:
        if heard:
            self._pulse.heard(now)
        elif (silence := self._pulse.silence(now)) >= self.timeout:
            self._pulse.forget()
            raise EngineSilent(self._diagnosis.sentence(silence))

    def _is_pulse(self, envelope: Envelope) -> bool:
        """An answer to the second connection's heartbeat; those on the first carry a request's number."""
        return isinstance(envelope.message, Alive) and envelope.request is None

    def close(self) -> None:
        """End both connections; what was sent just before still has half a second to leave."""
        self.files.leave()
        self._diagnosis.close()
        for socket in (self._main, self._beat):
            socket.close()
        self._context.term()
        self._wakeup.close()
