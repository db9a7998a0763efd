# SPDX-License-Identifier: GPL-3.0-or-later
"""Images to the engine and back, beside raw ZeroMQ, a memory copy and PNG over HTTP; and what a job costs besides its model.

All ways of a size run by turns in each round, and ratios are taken within a round, so that whatever else the machine does
meets all of them; PNG, which takes seconds, is there in the first rounds only. Half of the cores send and half receive, so
figures of two cores are no figures of ten. What is not the model is told by the jobs themselves: the time from their submission
to their images, without that in which their network computed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blender_addon.wire import ChannelImage, Client, Submit

from . import _echoes
from ._engine import Engine, engine
from ._patient import PATIENT, patient_team

SIZES = {"1K": (1024, 1024), "4K": (2160, 3840)}
PARTS = ("albedo", "normals", "roughness", "metalness")
STARTS, PNG_ROUNDS = 5, 3
RAW, CURVE, COPY, PNG, OURS = "ZeroMQ, plain", "ZeroMQ, encrypted", "memory copy", "PNG over HTTP", "engine"


@dataclass(frozen=True)
class Figure:
    """One thing that was measured; `goal` is what it should be, and `met` whether it is (None: no goal)."""

    name: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None

    def line(self) -> str:
        """As a row of the table."""
        verdict = {None: "", True: "met", False: "not met"}[self.met]
        return f"{self.name:58}{self.value:10.3f} {self.unit:6}{self.goal:>10} {verdict}".rstrip()


def main(argv: list[str]) -> int:
    """Measure and print a table; 0 also when a goal is missed, since a slow machine is no fault."""
    options = parser().parse_args(argv)
    report(measured(options), options.json)
    return 0


def measured(options: argparse.Namespace) -> Iterator[Figure]:
    """All figures, as they come."""
    yield from starts(min(options.repeats, STARTS))
    with patient_team(), engine("--warm") as running:
        yield from transports(running, options)
        yield from answers(running, options)
        if options.job_repeats:
            yield from overhead(running, options)


def report(made: Iterator[Figure], file: Path | None) -> None:
    """Print figures as they come, and write them into a file, if there is one."""
    figures = []
    for figure in made:
        figures.append(figure)
        print(figure.line(), flush=True)
    if file:
        file.write_text(json.dumps([vars(figure) for figure in figures], indent=2), "utf-8")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="benchmark.py wire", description=__doc__.partition("\n")[0])
    made.add_argument("--repeats", type=int, default=15, help="rounds of the round trips (default: 15)")
    made.add_argument("--sizes", type=sizes, default=SIZES, metavar="1K,4K", help="or WIDTHxHEIGHT (default: 1K,4K)")
    made.add_argument("--questions", type=int, default=1000, help="status questions under load (default: 1000)")
    made.add_argument("--job-repeats", type=int, default=2, help="whole jobs; 0 leaves them out (default: 2)")
    made.add_argument("--job-side", type=int, default=512, help="pixels of the whole job (default: 512)")
    made.add_argument("--job-steps", type=int, default=20, help="steps of the whole job (default: 20)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    return made


def sizes(text: str) -> dict[str, tuple[int, int]]:
    """Names to (height, width) in pixels."""
    return {name: SIZES.get(name) or tuple(int(side) for side in reversed(name.split("x"))) for name in text.split(",")}


def starts(repeats: int) -> Iterator[Figure]:
    """How long a new server needs until it listens."""
    seconds = []
    for _ in range(repeats):
        with engine() as running:
            seconds.append(running.ready_after)
    yield at_most("server ready after", statistics.median(seconds), 1.0)


def at_most(name: str, value: float, most: float, unit: str = "s") -> Figure:
    """A figure that should be small."""
    return Figure(name, value, unit, f"<= {most:g}", value <= most)


def at_least(name: str, value: float, least: float) -> Figure:
    """A ratio that should be large."""
    return Figure(name, value, "x", f">= {least:g}", value >= least)


# ---- round trips -----------------------------------------------------------------------------------------------------


def transports(running: Engine, options: argparse.Namespace) -> Iterator[Figure]:
    """Round trips of each way at each size, and the ratios that have goals."""
    with ExitStack() as stack:
        ways = {
            COPY: stack.enter_context(_echoes.copies()),
            RAW: stack.enter_context(_echoes.zeromq(curve=False)),
            CURVE: stack.enter_context(_echoes.zeromq(curve=True)),
            PNG: stack.enter_context(_echoes.png_over_http()),
            OURS: stack.enter_context(through(running)),
        }
        for name, size in options.sizes.items():
            seconds = rounds(ways, picture(*size), options.repeats)
            yield from compared(name, seconds)


def picture(height: int, width: int) -> np.ndarray:
    """A seeded picture, H x W x 3 in 0..1: soft shapes with a little grain, so that PNG is neither spared nor punished."""
    chance = np.random.default_rng(0)
    coarse = chance.random((height // 64 + 2, width // 64 + 2, 3), np.float32)
    soft = coarse.repeat(64, axis=0).repeat(64, axis=1)[:height, :width]
    return np.clip(soft + chance.normal(0, 0.01, (height, width, 3)), 0, 1).astype(np.float32)


@contextmanager
def through(running: Engine) -> Iterator[_echoes.Echo]:
    """A job that gives its image back: client, server, worker, and the same way home."""
    with running.client(timeout=30.0) as client:
        yield lambda image: client.run(job("echo", image)).outputs["image"].data


def job(task: str, image: np.ndarray, outputs: tuple[str, ...] = (), **options: float) -> Submit:
    """A job on an image."""
    return Submit(uuid.uuid4().hex, task, PATIENT, {"image": ChannelImage(image, "scene-linear")}, outputs, options)


def parts(image: np.ndarray, steps: int) -> Submit:
    """A job of many steps, for an engine with the `patient_team`."""
    return job("decompose", image, PARTS, steps=steps)


def rounds(ways: dict[str, _echoes.Echo], image: np.ndarray, repeats: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, of `PNG` in the first ones; the order turns. Each goes once before the clock, and
    what it brings is checked."""
    names, seconds = list(ways), {name: [] for name in ways}
    for name in names:
        assert np.allclose(ways[name](image), image, atol=1 / 255), name
    for turn in range(repeats):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            if name != PNG or turn < PNG_ROUNDS:
                seconds[name].append(clocked(lambda way=ways[name]: way(image)))
    return seconds


def clocked(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compared(size: str, seconds: dict[str, list[float]]) -> Iterator[Figure]:
    """Medians, and medians of the ratios within each round."""
    for name, times in seconds.items():
        yield Figure(f"{size}, there and back: {name}", 1000 * statistics.median(times), "ms")
    yield at_least(f"{size}: throughput of the engine over that of plain ZeroMQ", ratio(seconds, RAW), 0.7)
    yield Figure(f"{size}: the same over that of encrypted ZeroMQ", ratio(seconds, CURVE), "x")
    yield at_least(f"{size}: times faster than PNG over HTTP", ratio(seconds, PNG), 10.0)


def ratio(seconds: dict[str, list[float]], other: str) -> float:
    """How many times as fast the engine is as another way, taken within each round."""
    return statistics.median(theirs / ours for theirs, ours in zip(seconds[other], seconds[OURS], strict=False))


# ---- under load ------------------------------------------------------------------------------------------------------


def answers(running: Engine, options: argparse.Namespace) -> Iterator[Figure]:
    """How long a status answer takes while the worker computes with all it has."""
    image = picture(options.job_side, options.job_side)
    with busy(running, image), running.client(timeout=30.0) as client:
        milliseconds = [1000 * clocked(client.status) for _ in range(options.questions)]
    yield Figure("status answer under load, median", statistics.median(milliseconds), "ms")
    yield at_most("status answer under load, 99th percentile", float(np.percentile(milliseconds, 99)), 20.0, "ms")


@contextmanager
def busy(running: Engine, image: np.ndarray) -> Iterator[None]:
    """A job that computes for as long as the block lasts."""
    with running.client(timeout=30.0) as client:
        long = parts(image, 1000)
        client.submit(long)
        while (news := client.poll(1.0)) is None or not getattr(news, "step", 0):
            pass
        yield
        client.cancel(long.job_id)
        client.acknowledge(long.job_id)


def overhead(running: Engine, options: argparse.Namespace) -> Iterator[Figure]:
    """Whole jobs with the bundled team's network: of each, what its network has not computed, previews and news counting as such."""
    image = picture(options.job_side, options.job_side)
    with running.client(timeout=30.0) as client:
        for steps, goal in ((options.job_steps, 5.0), (1, None)):
            yield from shares([whole(client, image, steps) for _ in range(options.job_repeats + 1)][1:], image, steps, goal)


def whole(client: Client, image: np.ndarray, steps: int) -> tuple[float, float]:
    """Seconds of a job from its submission to its images, and of those the seconds of the network."""
    began = time.perf_counter()
    result = client.run(parts(image, steps), on_progress=lambda progress: None)
    return time.perf_counter() - began, result.info["computing"]


def shares(jobs: list[tuple[float, float]], image: np.ndarray, steps: int, goal: float | None) -> Iterator[Figure]:
    """What jobs of so many steps took, and what of it was not the model."""
    what = f"{steps} {'step' if steps == 1 else 'steps'} at {image.shape[1]} x {image.shape[0]}"
    yield Figure(f"{what}, in the engine", statistics.median(seconds for seconds, _ in jobs), "s")
    share = statistics.median(100 * (1 - model / seconds) for seconds, model in jobs)
    name = f"{what}: what is not the model"
    yield Figure(name, share, "%") if goal is None else at_most(name, share, goal, "%")
