# SPDX-License-Identifier: GPL-3.0-or-later
"""Ray's driver, as a process of its own: Ray ends a driver whose cluster is lost, and that must not be the server.

It reads lines of JSON from its standard input: first what cluster to use ({"address", "device", "workers", "version",
"variables"}), then {"start": token, "device", "orders"} and {"kill": token}. It writes {"ready": its computer's address},
{"places": devices}, {"up": token, "pid"}, {"ended": token, "how"}, or {"sentence"} when the cluster cannot be used.
When its input closes it ends, and Ray ends its actors.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from .connecting import LOCAL, connected, describe, reach
from .errors import ClusterError
from .places import Node, cpus_each, places_of

POLL_SECONDS = 0.1
COUNT_SECONDS = 2.0
"""How often it looks which computers are in the cluster."""

GONE_SECONDS = 6.0
"""How long the cluster's head may be out of reach. Ray would wait for a minute, and meanwhile answer nothing."""

Say = Callable[..., None]


class Agent:
    """The connection to a cluster, and the actors there. `folder` is for a cluster of this computer's own."""

    def __init__(self, wanted: dict[str, Any], say: Say, folder: str) -> None:
        self._wanted, self._say = wanted, say
        self._ray = connected(wanted["address"], wanted["workers"], folder)
        self._actors: dict[str, Any] = {}
        self._places: list[str] = []
        self._calls: dict[Any, tuple[str, str]] = {}
        self._counted = 0.0

    def run(self, orders: queue.SimpleQueue) -> None:
        """Do as told until the input closes."""
        self._count()
        threading.Thread(target=self._watch, args=(self._ray.get_runtime_context().gcs_address,), daemon=True).start()
        self._say(ready=self._ray.util.get_node_ip_address())
        while self._obey(orders):
            self._listen()
            if time.monotonic() - self._counted > COUNT_SECONDS:
                self._count()
        self._ray.shutdown()

    def _watch(self, head: str) -> None:
        """In a thread: end this process when the cluster's head has gone."""
        seen = time.monotonic()
        while time.monotonic() - seen < GONE_SECONDS:
            time.sleep(COUNT_SECONDS)
            with contextlib.suppress(ClusterError):
                reach(head)
                seen = time.monotonic()
        self._say(sentence=f"The head of the Ray cluster at {head} has not been in reach for {GONE_SECONDS:.0f} s.")
        os._exit(1)

    def _obey(self, orders: queue.SimpleQueue) -> bool:
        """Take all orders that wait; False when the input has closed."""
        try:
            while True:
                order = orders.get(block=not self._calls, timeout=POLL_SECONDS)
                if order is None:
                    return False
                if "start" in order:
                    self._start(order)
                else:
                    self._kill(order["kill"])
        except queue.Empty:
            return True

    def _start(self, order: dict[str, str]) -> None:
        from .actor import WorkerActor

        token = order["start"]
        actor = self._actors[token] = self._ray.remote(WorkerActor).options(max_restarts=0, **self._room(order["device"])).remote()
        self._calls[actor.where.remote()] = token, "where"
        serving = actor.serve.remote(self._wanted["version"], order["orders"], self._wanted["variables"])
        self._calls[serving] = token, "serve"

    def _room(self, device: str) -> dict[str, Any]:
        """What a worker takes of its computer: a GPU, or a share of the CPUs of one that has few workers yet."""
        if device == "cpu":
            cpus = cpus_each(self._nodes(), self._wanted["workers"])
            return {"num_gpus": 0, "num_cpus": cpus, "scheduling_strategy": "SPREAD"}
        return {"num_gpus": 1, "num_cpus": 0}

    def _kill(self, token: str) -> None:
        actor = self._actors.pop(token, None)
        self._calls = {call: (of, what) for call, (of, what) in self._calls.items() if of != token}
        if actor is not None:
            self._ray.kill(actor)

    def _listen(self) -> None:
        """Tell which actors have come up, and which have ended."""
        if not self._calls:
            return
        for call in self._ray.wait(list(self._calls), timeout=POLL_SECONDS)[0]:
            token, what = self._calls.pop(call)
            try:
                answer = self._ray.get(call)
            except self._ray.exceptions.RayError as error:
                self._ended(token, describe(error))
            else:
                self._say(up=token, pid=answer) if what == "where" else self._ended(token, "by itself")

    def _ended(self, token: str, how: str) -> None:
        if token in self._actors:
            self._kill(token)
            self._count()  # before the news: a job that runs again must not wait for a computer that is gone
            self._say(ended=token, how=how)

    def _nodes(self) -> list[Node]:
        offers = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return [Node(int(each.get("CPU", 0)), int(each.get("GPU", 0))) for each in offers]

    def _count(self) -> None:
        """Tell the devices of the cluster, if they have changed."""
        self._counted = time.monotonic()
        places = places_of(self._nodes(), self._wanted["device"], self._wanted["workers"])
        if places != self._places:
            self._places = places
            self._say(places=places)


def _lines(stream: TextIO) -> Iterator[dict[str, Any]]:
    for line in stream:
        yield json.loads(line)


def _speaker(stream: TextIO) -> Say:
    def say(**entries: Any) -> None:
        stream.write(json.dumps(entries) + "\n")
        stream.flush()

    return say


def _read(stream: Iterator[dict[str, Any]], orders: queue.SimpleQueue) -> None:
    """In a thread: pass orders on, and the end of the input as None."""
    for order in stream:
        orders.put(order)
    orders.put(None)


def _own_output() -> TextIO:
    """Standard output for this module alone: what Ray and the actors print goes to standard error."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output


def set_up_environment(address: str) -> None:
    """No telemetry; plain lines; and a cluster of this computer's own admits nobody else."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_COLOR_PREFIX": "0", "RAY_DEDUP_LOGS": "0"}
    if address == LOCAL:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def main() -> None:
    """Read what is wanted, connect, then do as told."""
    say = _speaker(_own_output())
    orders: queue.SimpleQueue = queue.SimpleQueue()
    stream = _lines(sys.stdin)
    wanted = next(stream)
    set_up_environment(wanted["address"])
    threading.Thread(target=_read, args=(stream, orders), daemon=True).start()
    folder = tempfile.mkdtemp(prefix="teamwork-ray-") if wanted["address"] == LOCAL else ""
    try:
        Agent(wanted, say, folder).run(orders)
    except ClusterError as error:
        say(sentence=str(error))
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # an orderly exit would wait for the thread that reads standard input


if __name__ == "__main__":
    main()
