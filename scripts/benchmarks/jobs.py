# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job's previews cost, how right its seconds left are, and how long it goes on after an order to cancel it.

Jobs of the bundled team in an engine of this benchmark's own. Previews are measured in a worker in this process, on its clock:
their share of a job's time means the same on a busy machine. The seconds left that a client was told are compared with
those that it then took until the last step, and until the result. Orders to cancel come at moments all over a job.
"""

from __future__ import annotations

import argparse
import math
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from blender_addon.wire import ENDS, Cancelled, Client, Message, Progress, Result, Submit

from ._engine import Engine, engine
from ._patient import patient_team
from .wire import Figure, at_most, parts, picture, report

PREVIEWS_GOAL = 5.0


def main(argv: list[str]) -> int:
    """Measure and print a table; 0 also when a goal is missed, since a slow machine is no fault."""
    options = parser().parse_args(argv)
    report(measured(options), options.json)
    return 0


def measured(options: argparse.Namespace) -> Iterator[Figure]:
    """All figures, as they come."""
    with patient_team():
        yield from previews(options)
        with engine("--warm") as running:
            yield from foretold(running, options)
            yield from cancels(running, options)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="benchmark.py jobs", description=__doc__.partition("\n")[0])
    made.add_argument("--side", type=int, default=512, help="pixels of the picture (default: 512)")
    made.add_argument("--steps", type=int, default=20, help="steps of a job (default: 20)")
    made.add_argument("--repeats", type=int, default=3, help="jobs that run to their end, of each kind (default: 3)")
    made.add_argument("--cancels", type=int, default=10, help="jobs that are cancelled (default: 10)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    return made


def order(options: argparse.Namespace) -> Submit:
    """A picture taken apart."""
    return parts(picture(options.side, options.side), options.steps)


# ---- previews --------------------------------------------------------------------------------------------------------


def previews(options: argparse.Namespace) -> Iterator[Figure]:
    """The first job loads the model, and its previews are the first of their kind; later ones are what users meet."""
    with worker() as (own, taken):
        own._do(order(options))
        shares, counts, costs = [], [], []
        for _ in range(options.repeats):
            taken.clear()
            began = time.monotonic()
            own._do(order(options))
            shares.append(100 * sum(taken) / (time.monotonic() - began))
            counts.append(len(taken))
            costs += taken
    yield Figure("previews in a job, median", statistics.median(counts), "")
    if costs:
        yield Figure("one preview, median", 1000 * statistics.median(costs), "ms")
    yield at_most("share of previews in a job's time, the most", max(shares), PREVIEWS_GOAL, "%")


@contextmanager
def worker() -> Iterator[tuple]:
    """A worker in this process, on a real channel, and the seconds that its previews take, one by one."""
    from engine_server.pace import PreviewBudget
    from engine_server.worker import Worker
    from engine_server.worker_link import Channel, Orders, key_pair

    taken: list[float] = []

    class Noted(PreviewBudget):
        def made(self, began: float, ended: float) -> None:
            taken.append(ended - began)
            super().made(began, ended)

    with zmq.Context() as context:
        channel, keys = Channel(context), key_pair()
        own = Worker(Orders(channel.address, channel.keys.public, keys.public, keys.secret, "benchmark", "cpu"))
        own.previews, over = Noted(), threading.Event()
        listener = threading.Thread(target=_listen, args=(channel, over))
        listener.start()
        yield own, taken
        over.set()
        listener.join()
        channel.close()
        own._socket.close(0)


def _listen(channel, over: threading.Event) -> None:
    while not over.is_set():
        if channel.socket.poll(100):
            channel.socket.recv_multipart(copy=False)


# ---- seconds left ----------------------------------------------------------------------------------------------------


def foretold(running: Engine, options: argparse.Namespace) -> Iterator[Figure]:
    """How far what was told at each step is from what came, as a share of all that was left, and of the whole job."""
    with running.client(timeout=30.0) as client:
        client.run(order(options))
        jobs = [told(client, order(options)) for _ in range(options.repeats)]
    for name, moment in (("last step", 1), ("result", 2)):
        ratios = [news[0] / news[moment] for job_news in jobs for news in _middle(job_news)]
        yield Figure(f"seconds left, told over true, until the {name}: median", statistics.median(ratios), "x")
        worst = max(100 * abs(news[0] - news[moment]) / job_news[0][moment] for job_news in jobs for news in job_news)
        yield Figure(f"the same: farthest off, of the job's time until its {name}", worst, "%")


def _middle(news: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """News of the middle half of a job, where there is something to say and something left."""
    quarter = len(news) // 4
    return news[quarter : len(news) - quarter]


def told(client: Client, submit: Submit) -> list[tuple[float, float, float]]:
    """For each news with seconds left: those, and what it then took until the last step and until the result."""
    news: list[tuple[float, Progress]] = []
    client.run(submit, on_progress=lambda progress: news.append((time.monotonic(), progress)))
    end, last = time.monotonic(), news[-1][0]
    return [(p.seconds_left, last - at, end - at) for at, p in news if p.seconds_left]


# ---- cancel ----------------------------------------------------------------------------------------------------------


def cancels(running: Engine, options: argparse.Namespace) -> Iterator[Figure]:
    """From the order until the end is here; what was ordered too late ends as a result, which counts as well."""
    with running.client(timeout=30.0) as client:
        began = time.monotonic()
        client.run(order(options))
        whole = time.monotonic() - began
        waits = [cancelled(client, order(options), whole * (i + 0.5) / options.cancels) for i in range(options.cancels)]
    yield Figure("a job that is not cancelled", whole, "s")
    yield Figure("from the order to cancel to the end, median", statistics.median(waits), "s")
    yield Figure("the same, the longest", max(waits), "s")
    yield at_most("the longest over the time of a step", max(waits) * options.steps / whole, 2.0, "x")


def cancelled(client: Client, submit: Submit, after: float) -> float:
    """Seconds from the order, given so long after the job was submitted, until the job's end."""
    client.submit(submit)
    ordered = time.monotonic() + after
    end = _end(client, ordered)
    if end is None:
        client.cancel(submit.job_id)
        end = _end(client, math.inf)
    seconds = max(0.0, time.monotonic() - ordered)
    assert isinstance(end, (Cancelled, Result)), end
    client.acknowledge(submit.job_id)
    return seconds


def _end(client: Client, until: float) -> Message | None:
    """The job's end, if it comes by then."""
    while (left := until - time.monotonic()) > 0:
        news = client.poll(min(left, 1.0))
        if isinstance(news, ENDS):
            return news
    return None
