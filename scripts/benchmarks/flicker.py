# SPDX-License-Identifier: GPL-3.0-or-later
"""How much neural passes flicker in an animation: with a seed for each frame, with one for all, and with the frame before.

The demo's still life, with a camera that moves and a turning Suzanne. Flicker is the mean difference of a frame and the
one before it, moved along Cycles' motion vectors, where the same point is to be seen in both (the warping error of Lai et
al., ECCV 2018); colours as displayed, 0..1. Error is the root mean square against many samples, for what shows light.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blender_addon import motion
from blender_addon.colour import linear_to_srgb

COLOURS = {"Combined": "image", "Neural Image": "image", "Neural Albedo": "albedo"}
SHOWN = (*COLOURS, "Neural Normal")
LIT = ("Combined", "Neural Image")
MANY = 4
"""Steps with which a model starts from noise, whatever it does by default; one that was trained for fewer takes those."""


@dataclass(frozen=True)
class Way:
    """How an animation is made."""

    name: str
    reuse: float = 0.0
    steps: int = 0
    seeds: bool = False


WAYS = (
    Way("a seed for each frame, up to 4 steps", steps=MANY, seeds=True),
    Way("one seed, up to 4 steps", steps=MANY),
    Way("one seed, the model's steps"),
    Way("and half of the frame before", reuse=0.5),
    Way("and 0.8 of the frame before", reuse=0.8),
    Way("and 0.9 of the frame before", reuse=0.9),
)


@dataclass(frozen=True)
class Row:
    """The figures of one pass, made in one way; `error` is None where no truth is known."""

    way: str
    shown: str
    flicker: float
    error: float | None

    def line(self) -> str:
        """As a row of the table."""
        error = "" if self.error is None else f"{self.error:9.4f}"
        return f"{self.way:42}{self.shown:15}{self.flicker:9.4f}{error}"


def displayed(passes: dict[str, np.ndarray], name: str) -> np.ndarray:
    """A pass as it is looked at: colours encoded and clipped, all else as it is."""
    values = passes[name][..., :3]
    return linear_to_srgb(np.clip(values, 0.0, 1.0)) if name in COLOURS else values


def flicker(frames: list[dict[str, np.ndarray]], name: str) -> float:
    """The mean over all pairs of frames; points that come into sight count nothing."""
    return float(np.mean([_difference(then, now, name) for then, now in zip(frames, frames[1:], strict=False)]))


def _difference(then: dict[str, np.ndarray], now: dict[str, np.ndarray], name: str) -> float:
    vectors = now["Vector"]
    seen = motion.visible(vectors, then["Vector"]) & ~motion.unmoved(vectors)
    return float(np.abs(displayed(now, name) - motion.warped(displayed(then, name), vectors))[seen].mean())


def error(frames: list[dict[str, np.ndarray]], truth: list[dict[str, np.ndarray]], name: str) -> float:
    """RMSE of a pass against Combined of many samples."""
    pairs = zip(frames, truth, strict=True)
    return float(np.sqrt(np.mean([(displayed(now, name) - displayed(true, "Combined")) ** 2 for now, true in pairs])))


def scene_of(size: int, frames: int) -> Any:
    """The still life, with what moves."""
    import bpy

    from scripts.cycles.scene import build_demo_scene

    scene = build_demo_scene(size)
    scene.frame_start, scene.frame_end = 1, frames
    _drive(scene.camera, "location", 0, "{here} + (frame - 1) * 0.06")
    suzanne = next(each for each in bpy.data.objects if each.name.startswith("Suzanne"))
    _drive(suzanne, "rotation_euler", 2, "{here} + (frame - 1) * 0.04")
    scene.cycles.use_animated_seed = True  # other noise in each frame, as animators have it
    return scene


def _drive(thing: Any, path: str, axis: int, expression: str) -> None:
    here = getattr(thing, path)[axis]
    thing.driver_add(path, axis).driver.expression = expression.format(here=here)


def animate(scene: Any, way: Way) -> list[dict[str, np.ndarray]]:
    """All passes of all frames."""
    from scripts.cycles.rendering import render_animation

    settings = scene.teamwork_render
    settings.driver_remove("seed")
    settings.seed, settings.steps, settings.reuse = 0, way.steps, way.reuse
    if way.seeds:
        settings.driver_add("seed").driver.expression = "frame"
    return list(render_animation(scene))


def reference(scene: Any, samples: int) -> list[dict[str, np.ndarray]]:
    """Cycles alone, with many samples and denoised."""
    from scripts.cycles.rendering import render_animation

    few, engine = scene.cycles.samples, scene.render.engine
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", samples, True
    try:
        return list(render_animation(scene))
    finally:
        scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = engine, few, False


@contextmanager
def blender() -> Iterator[None]:
    """Blender with the add-on and an engine of its own; neither knows of the user's."""
    with tempfile.TemporaryDirectory(prefix="teamwork-benchmark-", ignore_cleanup_errors=True) as folder:
        resources = Path(folder) / "blender"
        resources.mkdir()
        os.environ |= {"TEAMWORK_HOME": str(Path(folder) / "home"), "BLENDER_USER_RESOURCES": str(resources)}
        import bpy

        import blender_addon
        from blender_addon import launcher

        bpy.ops.wm.read_factory_settings(use_empty=True)
        blender_addon.register()
        engine = launcher.start_engine(Path(sys.executable))
        try:
            yield
        finally:
            blender_addon.unregister()
            engine.stop()


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """One row for each way and pass."""
    scene = scene_of(options.size, options.frames)
    layer = scene.view_layers[0]
    layer.use_pass_vector = True
    truth = reference(scene, options.truth)
    yield Row(f"Cycles, {options.truth} samples", "Combined", flicker(truth, "Combined"), None)
    scene.render.engine, scene.teamwork_render.model = "TEAMWORK_CYCLES", options.model
    for name in ("image", "albedo", "normal"):
        setattr(layer.teamwork, f"use_{name}", True)
    for way in WAYS:
        frames = animate(scene, way)
        for name in SHOWN if way is WAYS[0] else SHOWN[1:]:
            title = f"Cycles, {scene.cycles.samples} samples" if name == "Combined" else way.name
            yield Row(title, name, flicker(frames, name), error(frames, truth, name) if name in LIT else None)


def main(argv: list[str]) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="benchmark.py flicker", description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="side of the picture in pixels")
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--truth", type=int, default=256, help="samples of the reference")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args(argv)
    rows: list[Row] = []
    print(f"{'':34}{'':15}{'flicker':>9}{'error':>9}", flush=True)
    with blender():
        for row in measure(options):
            rows.append(row)
            print(row.line(), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), "utf-8")
    sys.stdout.flush()
    os._exit(0)  # Blender's module may hang on its way out
