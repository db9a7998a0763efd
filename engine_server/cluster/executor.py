# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's end of a cluster: workers are actors, started and ended by the agent. Imports no ray, and never waits."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from .. import __version__
from ..logs import take_over
from ..process import python_path
from ..settings import Settings
from ..worker_link import Orders
from .errors import ClusterError

log = logging.getLogger(__name__)

CONNECT_LIMIT = 60.0
CLOSE_LIMIT = 15.0
RETRY_SECONDS = 5.0
RELAY_LIMIT = 2.0
VARIABLES = ("TEAMWORK_MODELS", "TEAMWORK_HOME", "HF_HOME", "HF_HUB_OFFLINE")
"""What workers need to know of the server's environment to find models."""


class ActorHandle:
    """One worker in the cluster."""

    def __init__(self, token: str, tell: Callable[..., None]) -> None:
        self.pid, self.how = 0, None
        self._token, self._tell = token, tell

    def ended(self) -> str | None:
        """How it ended, in words; None while it runs, or waits for room."""
        return self.how

    def stop(self) -> None:
        """End it: Ray kills its process."""
        self._tell(kill=self._token)

    def kill(self) -> None:
        """The same."""
        self.stop()

    def join(self) -> None:
        """Nothing: the executor's `close` waits for all."""


class RayActors:
    """The executor of a Ray cluster. A job whose actor dies is begun once more.

    Raises `ClusterError` when the cluster cannot be used from the beginning. One that is lost later is looked for again
    every few seconds; jobs wait for it as long as they would for a worker that starts.
    """

    attempts, remote = 2, True

    def __init__(self, settings: Settings, wake: Callable[[], None]) -> None:
        if settings.devices not in ((), ("cpu",), ("cuda",)):
            raise ClusterError(f"With --cluster the device is cpu or cuda, the same for all workers, not {','.join(settings.devices)}.")
        self._settings, self._wake = settings, wake
        self.places: tuple[str, ...] = ("".join(settings.devices) or "cpu",)
        self._handles: dict[str, ActorHandle] = {}
        self._unsent: list[dict] = []
        self._trouble, self._ready, self._lost = "", False, 0.0
        self._start_agent()
        self.listen = f"tcp://{self._address()}:{settings.cluster_port}"

    # ---- the agent ---------------------------------------------------------------------------------------------------

    def _start_agent(self) -> None:
        self._lines: SimpleQueue[dict | None] = SimpleQueue()
        self._agent = subprocess.Popen(
            [sys.executable, "-m", "engine_server.cluster.agent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": python_path()},
            start_new_session=True,  # Ctrl-C reaches the whole terminal; the server decides what ends
        )
        self._relay = take_over(self._agent.stderr)
        threading.Thread(target=self._listen, args=(self._agent, self._lines), name="cluster", daemon=True).start()
        wanted = {"address": self._settings.cluster, "device": "".join(self._settings.devices), "version": __version__}
        variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        self._write(**wanted, workers=self._settings.cluster_workers, variables=variables)

    def _listen(self, agent: subprocess.Popen, lines: SimpleQueue) -> None:
        """In a thread: pass the agent's lines on, and its end as None."""
        for line in agent.stdout:
            lines.put(json.loads(line))
            self._wake()
        agent.wait()
        lines.put(None)
        self._wake()

    def _write(self, **entries: object) -> None:
        with contextlib.suppress(OSError):  # it has ended, which is noticed
            self._agent.stdin.write(json.dumps(entries).encode() + b"\n")
            self._agent.stdin.flush()

    def _address(self) -> str:
        """This computer's address in the cluster, as soon as the agent is connected. Raises `ClusterError`."""
        deadline = time.monotonic() + CONNECT_LIMIT
        with contextlib.suppress(Empty):
            while (said := self._lines.get(timeout=max(0.0, deadline - time.monotonic()))) is not None:
                if "sentence" in said:
                    raise ClusterError(said["sentence"])
                self._take(said)
                if "ready" in said:
                    return said["ready"]
            self._relay.join(RELAY_LIMIT)  # what it said last is the reason
            raise ClusterError(f"The connection to the Ray cluster {self._settings.cluster} broke off; the engine's log tells more.")
        self._agent.kill()
        raise ClusterError(
            f"The Ray cluster {self._settings.cluster} did not answer within {CONNECT_LIMIT:.0f} s: see with `ray status` on this"
            " computer whether it runs, whether this computer is a part of it, and whether both use the same token."
        )

    def check(self) -> None:
        """Take what the agent has said; look for a cluster that was lost."""
        with contextlib.suppress(Empty):
            while True:
                said = self._lines.get_nowait()
                self._take(said) if said is not None else self._lose()
        if self._lost and time.monotonic() - self._lost > RETRY_SECONDS:
            self._lost = 0.0
            self._start_agent()

    def _take(self, said: dict) -> None:
        if "places" in said:
            self.places = tuple(said["places"])
            log.info("the cluster has room for %d workers on %s", len(self.places), self.places[0])
        elif "ready" in said:
            self._ready, self._trouble = True, ""
            for order in self._unsent:
                self._write(**order)
            self._unsent = []
        elif "sentence" in said:
            self._trouble = said["sentence"]
        elif "up" in said and said["up"] in self._handles:
            self._handles[said["up"]].pid = said["pid"]
        elif "ended" in said and said["ended"] in self._handles:
            self._handles.pop(said["ended"]).how = said["how"]

    def _lose(self) -> None:
        """The agent has ended, and its actors with it."""
        log.error("the cluster %s is lost: %s", self._settings.cluster, self._trouble or "its agent has ended")
        if self._ready:
            for handle in self._handles.values():
                handle.how = "because the cluster was lost"
            self._handles.clear()
        self._ready, self._lost = False, time.monotonic()

    # ---- workers -----------------------------------------------------------------------------------------------------

    def start(self, orders: Orders) -> ActorHandle:
        """Start a worker, as soon as the cluster has room for it."""
        handle = self._handles[orders.token] = ActorHandle(orders.token, self._tell)
        self._tell(start=orders.token, device=orders.device, orders=orders.line().decode())
        return handle

    def _tell(self, **order: str) -> None:
        if "kill" in order:
            self._handles.pop(order["kill"], None)
            self._unsent = [other for other in self._unsent if other.get("start") != order["kill"]]
        if self._ready:
            self._write(**order)
        elif "start" in order:
            self._unsent.append(order)

    def late(self, seconds: float) -> str:
        """The sentence for a worker that did not come up within so many seconds."""
        name = self._settings.cluster
        if not self._ready:
            return f"The Ray cluster {name} is lost and was not found again within {seconds:.0f} s: start it, then submit the job again."
        return (
            f"No computer of the Ray cluster {name} had room for a worker on {self.places[0]} within {seconds:.0f} s: see with"
            " `ray status` which are there and what else they do."
        )

    def close(self) -> None:
        """End the agent, and with it all actors."""
        with contextlib.suppress(OSError):
            self._agent.stdin.close()
        try:
            self._agent.wait(CLOSE_LIMIT)
        except subprocess.TimeoutExpired:
            self._agent.kill()
