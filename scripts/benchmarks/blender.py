# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the add-on holds Blender's main thread, and how soon a job shows: photos of 1K and 4K become materials.

Blender's Python module has no event loop; the timer's function is called here as a window would call it, every tenth of
a second, and more often while a result lands. What is held apart: the transfers that only Blender can make (its pixels to
NumPy, and packing into the file).
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..environment import ROOT
from ._engine import engine
from ._holds import Held, Holds, watched, worst

SIZES = (1024, 4096)
MOST_SECONDS = 900.0
HEAD = (
    "| job | sending | progress | landing | pixels out, in | click to progress | click to result | result to material |\n"
    "|---|---|---|---|---|---|---|---|"
)
"""Sending, progress, landing: the longest hold besides pixels, in milliseconds on the clock (on the processor). Pixels: the
longest that they were copied at a time."""


@dataclass
class Measured:
    """One job: how long the main thread was held at each stage, and the seconds of the user's waiting."""

    task: str
    size: int
    sending: Held
    progress: Held
    landing: Held
    first_progress: float
    answered: float
    landed: float

    def row(self) -> str:
        """As a line of the table."""
        held = [f"{call.clock * 1e3:.0f} ({call.processor * 1e3:.0f}) ms" for call in (self.sending, self.progress, self.landing)]
        pixels = f"{self.sending.pixels * 1e3:.0f}, {self.landing.pixels * 1e3:.0f} ms"
        waits = [f"{seconds:.1f} s" for seconds in (self.first_progress, self.answered, self.landed)]
        return f"| {' | '.join((f'{self.task}, {self.size} x {self.size}', *held, pixels, *waits))} |"


def arguments(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmark.py blender", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="sides of the photos (1024 4096)")
    parser.add_argument("--tasks", nargs="+", default=("material", "decompose"), help="material, decompose (both)")
    return parser.parse_args(argv)


def photo(side: int):
    """Seeded noise, smooth and rough, as an image of 8 bits that lies in a file, as a photo does."""
    import bpy

    from blender_addon.png import encode_png

    random = np.random.default_rng(side)
    coarse = random.random((side // 64, side // 64, 3), np.float32).repeat(64, 0).repeat(64, 1)
    path = Path(tempfile.mkdtemp(dir=os.environ["TEAMWORK_HOME"])) / f"photo{side}.png"
    path.write_bytes(encode_png(coarse * 0.8 + random.random((side, side, 3), np.float32) * 0.2))
    image = bpy.data.images.load(str(path))
    _ = image.pixels[0]  # Blender reads a file when its pixels are first asked for: as if it had been looked at
    return image


def measure(task: str, side: int) -> Measured:
    """Send one photo as an operator does in a window, and follow it as the timer does."""
    from blender_addon import images, jobs, session

    picture = photo(side)
    with watched(jobs, images, session) as holds:
        clicked = time.perf_counter()
        job = _send(task, picture, holds)
        first = None
        while job.state == jobs.RUNNING and time.perf_counter() - clicked < MOST_SECONDS:
            time.sleep(jobs.TURN_SECONDS if jobs.ARRIVED else jobs.TICK_SECONDS)
            jobs.drain()
            if first is None and job.line != "Waiting":
                first = time.perf_counter() - clicked
    if job.state != jobs.DONE:
        raise SystemExit(f"The job did not end well: {job.line}")
    drained = holds.of("drain")
    landing = worst([call for call in drained if call.begun >= holds.arrived])
    progress = worst([call for call in drained if call.begun < holds.arrived])
    sending = holds.of("send")[0]
    times = (first or 0.0), holds.arrived - clicked, time.perf_counter() - holds.arrived
    return Measured(task, side, sending, progress, landing, *times)


def _send(task: str, picture, holds: Holds):
    """The operator's own `execute`, with its waiting left out."""
    import bpy

    from blender_addon import jobs
    from blender_addon.operators.base import TaskOperator

    waits, TaskOperator._wait = TaskOperator._wait, lambda *_: {"FINISHED"}
    operator = getattr(bpy.ops.teamwork, {"material": "material_from_image", "decompose": "decompose_image"}[task])
    try:
        holds.timed("send", operator)(image=picture.name)
    finally:
        TaskOperator._wait = waits
    return jobs.JOBS[-1]


def main(argv: list[str]) -> int:
    """Print a table of Markdown."""
    options = arguments(argv)
    logging.basicConfig(level=logging.WARNING)
    sys.path[:] = [place for place in sys.path if Path(place) != ROOT / "scripts"]  # its `cycles` would hide Blender's
    with engine() as running:
        os.environ["TEAMWORK_HOME"] = str(running.home)
        import bpy  # noqa: F401  (makes the module below known)
        import addon_utils  # isort: skip

        addon_utils.enable("blender_addon", default_set=True)
        measure("decompose", 64)  # the first job of a Blender also connects and loads
        print(HEAD, flush=True)
        for task in options.tasks:
            for side in options.sizes:
                print(measure(task, side).row(), flush=True)
    sys.stdout.flush()
    os._exit(0)  # Blender's module can hang on its way out
