# SPDX-License-Identifier: GPL-3.0-or-later
"""The server process: one thread, one poll loop, input and output only. It never waits for a worker, nor imports torch."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable

import zmq

from blender_addon.wire import (
    FROM_CLIENT,
    OWN_CLIENT,
    EngineRecord,
    KeyRing,
    ProtocolError,
    Refused,
    VersionMismatch,
    WireError,
    decode,
    encode,
    is_loopback,
)
from blender_addon.wire.limits import MAX_TEXT
from blender_addon.wire.reference import stand_in
from blender_addon.wire.sockets import ZAP_DOMAIN, server_socket

from . import __version__, worker_link
from .cluster.executor import RayActors
from .executor import Executor
from .handover import Handover
from .metrics import Metrics, Snapshot
from .parent import ParentWatch
from .process import Processes
from .queue import QUEUED, RUNNING
from .request import Request
from .requests import Desk
from .settings import Settings
from .standing import standing
from .supervisor import Supervisor
from .wakeup import SignalWakeup
from .zap import Doorkeeper

log = logging.getLogger(__name__)

TICK_MS = 500
"""How often the loop looks at clocks when nothing else wakes it."""
READING_SECONDS = 1.0
"""What a client has for reading a result's files before the engine that was told to stop removes them."""


class Server:
    """Listens from its construction on; `serve` runs until a signal, `stop`, or the end of the parent process.

    Raises `WireError` for keys that others can read and for an address that other computers reach while no client of
    theirs is listed, `zmq.ZMQError` for an address where it cannot listen, and `ClusterError` for a cluster that it cannot use.
    """

    def __init__(self, settings: Settings) -> None:
        self._ring = KeyRing(settings.home)
        _require_clients(settings.address, self._ring)
        self._wakeup = SignalWakeup()
        self._context = zmq.Context()
        executor = _executor(settings, self._wakeup.wake)
        self._handover = Handover.open(executor.remote)
        try:
            self._open(settings, executor)
        except BaseException:
            if self._handover:
                self._handover.close()
            raise
        self._parent = ParentWatch(settings.parent_pid) if settings.parent_pid else None
        self._settings, self._stopping, self._deadline = settings, 0, None
        self._record = EngineRecord(_reachable(self.address), os.getpid(), self._desk.instance, __version__)
        self._actions = {
            self._door.socket: self._door.answer,
            self._clients: self._on_client,
            self._supervisor.socket: self._supervisor.receive,
            self._wakeup.socket.fileno(): self._wakeup.drain,
        }

    def _open(self, settings: Settings, executor: Executor) -> None:
        """All that listens."""
        self._supervisor = Supervisor(self._context, settings, self._on_news, executor, self._handover)
        admits = {ZAP_DOMAIN: self._lists, worker_link.DOMAIN: self._supervisor.admits}
        self._door = Doorkeeper(self._context, admits)
        self._clients = server_socket(self._context, settings.address, self._ring.pair("engine"))
        self.address = self._clients.last_endpoint.decode()
        self._desk = Desk(settings, self._supervisor, self._send, self._wakeup.wake)
        self.metrics = Metrics(settings.metrics) if settings.metrics else None

    def stop(self) -> None:
        """Let `serve` return: when the running jobs have ended or their time is up; at once if asked twice.

        Safe in signal handlers and from any thread.
        """
        self._stopping += 1
        self._wakeup.wake()

    def serve(self) -> None:
        """Answer clients until it is time to stop; then end the workers and leave no record behind. Raises `WireError` where none can
        be written."""
        self._wakeup.on_signals(self.stop)
        poller = self._poller()
        try:
            self._record.write(self._settings.home)
            if self._settings.warm:
                self._supervisor.warm_up()
            while not self._over():
                for socket, _ in poller.poll(TICK_MS):
                    self._actions[socket]()
                self._tick()
        finally:
            self._close()

    def _over(self) -> bool:
        """Has it been told to stop, and has no running job time left? Jobs that wait are handed back at the first word."""
        if not self._stopping:
            return False
        if self._deadline is None:
            log.info("the engine stops; what runs has %.0f s to end", self._settings.drain)
            self._deadline = time.monotonic() + self._settings.drain
            self._desk.hand_back((QUEUED,))
        open_ends = self._desk.busy() or self._desk.results.fresh(READING_SECONDS)
        return self._stopping > 1 or not open_ends or time.monotonic() >= self._deadline

    def _poller(self) -> zmq.Poller:
        poller = zmq.Poller()
        for socket in self._actions:
            poller.register(socket, zmq.POLLIN)
        return poller

    def _tick(self) -> None:
        self._supervisor.check()
        self._desk.downloads.check()
        self._desk.dispatch()
        self._desk.results.settle()
        if self._handover is not None:
            self._handover.sweep()
        if self.metrics is not None:
            self.metrics.take(self._snapshot)
        if self._parent is not None and self._parent.gone():
            log.info("the process that started this engine has ended")
            self._stopping = 2  # nobody is left to wait for

    def _snapshot(self) -> Snapshot:
        return Snapshot(standing(self._desk), dict(self._desk.tally.codes), self._desk.tally.seconds)

    def _lists(self, key: str) -> bool:
        """May this client connect? The list is read anew each time, so that a change needs no new start."""
        try:
            return self._ring.admits(key)
        except OSError as error:
            log.error("nobody is admitted: %s", error)
            return False

    def _on_client(self) -> None:
        route, *frames = self._clients.recv_multipart(copy=False)
        if not frames:
            return
        reply, number = self._reply(route.bytes, frames)
        if reply is not None:
            self._send(route.bytes, encode(reply, number))

    def _reply(self, route: bytes, frames: list) -> tuple:
        """The reply to a message, and the number of the request that it answers. No message, however odd, stops the server."""
        try:
            envelope = decode(frames, FROM_CLIENT, stand_in)
        except (ProtocolError, VersionMismatch) as error:
            log.warning("refused a message: %s", error)
            code = error.code if isinstance(error, ProtocolError) else "version-mismatch"
            return Refused(code, str(error)[:MAX_TEXT]), error.request
        except Exception as error:
            log.exception("a message could not be read")
            return Refused("bad-message", f"The message cannot be read ({type(error).__name__})."), None
        try:
            return self._desk.answer(Request(frames[0].get("User-Id"), route, frames, envelope)), envelope.request
        except Exception as error:
            log.exception("a %s could not be answered", type(envelope.message).__name__)
            sentence = f"The engine made a mistake ({type(error).__name__}); its log has the details."
            return Refused("internal", sentence), envelope.request

    def _on_news(self, *news) -> None:
        self._desk.on_news(*news)

    def _send(self, route: bytes, frames: list) -> None:
        """Send to a client if it is there; what it misses is kept, and it will ask for it."""
        with contextlib.suppress(zmq.Again):
            try:
                self._clients.send_multipart([route, *frames], zmq.NOBLOCK, copy=False)
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise

    def _close(self) -> None:
        self._record.remove(self._settings.home)
        if self.metrics is not None:
            self.metrics.close()
        self._desk.hand_back((QUEUED, RUNNING))
        self._supervisor.close()
        self._desk.close()
        self._clients.close()
        self._door.close()
        self._context.term()
        if self._handover is not None:
            self._handover.close()
        self._wakeup.close()
        log.info("the engine has stopped")


def _executor(settings: Settings, wake: Callable[[], None]) -> Executor:
    """Where the workers of these settings run."""
    return RayActors(settings, wake) if settings.cluster else Processes(settings.devices, wake)


def _require_clients(address: str, ring: KeyRing) -> None:
    """Raise `WireError` for an address that other computers reach while none of them could get an answer."""
    if not is_loopback(address) and not set(ring.listed()) - {OWN_CLIENT}:
        raise WireError(
            f"Other computers can reach {address}, but no key of a client there is listed: print one with `keys show client`"
            " on the other computer, list it here with `keys add NAME 'KEY'`, in quotes, and start again; or listen at 127.0.0.1."
        )


def _reachable(address: str) -> str:
    """Where a program on this computer reaches a server that listens on all of its addresses."""
    return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
