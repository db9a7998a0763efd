# SPDX-License-Identifier: GPL-3.0-or-later
"""The neural passes of one view layer: the engine asked before Cycles begins, and the passes filled after it has ended.

All of it runs on the thread that Blender gives to a render. It reads evaluated copies and writes the render's result,
never the scene. Cycles frees the evaluated scene as soon as it has what it needs, so all that is wanted of it later is
copied at first.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, fields

import bpy
import numpy as np

from . import neural_passes, passes, previous_frame, render_job
from .colour import finite
from .engine import LINK, EngineError
from .neural_passes import MOTION, NeuralPass
from .previous_frame import Frame
from .spaces import working
from .storage import exact
from .wire import ChannelImage, Client, Progress, Result, Submit

LARGEST_SIDE = 4096
TITLES = {"shade": "shading", "decompose": "decomposition"}


@dataclass(frozen=True)
class Settings:
    """A copy of the scene's `teamwork_render`."""

    model: str
    seed: int
    steps: int
    size: int
    reuse: float
    without_engine: str
    timeout: float

    @staticmethod
    def of(chosen: bpy.types.PropertyGroup) -> Settings:
        """What it is now, at this frame."""
        return Settings(*(getattr(chosen, each.name) for each in fields(Settings)))


class NeuralLayer:
    """The work of one call of a render engine's `render`, to be made before Cycles begins.

    `goes_on`: Cycles may render without the neural passes.
    """

    def __init__(self, engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph) -> None:
        self.engine = engine
        scene, layer = depsgraph.scene_eval, depsgraph.view_layer_eval
        self.name = layer.name
        self.wanted = neural_passes.chosen(layer)
        self.settings = Settings.of(scene.teamwork_render)
        self.camera = scene.camera.matrix_world.copy() if scene.camera else None
        self.place, self.number = (scene.name, layer.name), scene.frame_current
        self.view, self.framing = _view(scene.camera, self.camera), _framing(scene)
        self.goes_on = False

    def prepare(self, scene: bpy.types.Scene) -> None:
        """Can there be neural passes? Better asked now than after hours of Cycles. Starts the engine if it has to be.

        Raises `passes.PassError` for stereo, panoramas, motion blur where frames are reused, and beyond 4096 pixels;
        `EngineError`, `LaunchError` or `WireError` when there is no engine with the model.
        """
        passes.check(scene)
        if self.settings.reuse and scene.render.use_motion_blur:
            raise passes.PassError(
                "With motion blur Cycles makes no motion vectors, along which the previous frame could be reused: "
                "turn motion blur off, or set Reuse Previous Frame to 0."
            )
        self._check_size()
        self._find_engine()

    def _check_size(self) -> None:
        width, height = self.engine.resolution_x, self.engine.resolution_y
        if max(width, height) > LARGEST_SIDE:
            raise passes.PassError(
                f"Neural passes have at most {LARGEST_SIDE} pixels a side, this render has {width} x {height}: "
                "lower the resolution, or turn them off in the view layer's passes."
            )

    def _find_engine(self) -> None:
        self._show("Teamwork: looking for the engine")
        with connect() as client:
            offered = [model.name for model in client.hello().models]
        if self.settings.model not in offered:
            names = ", ".join(offered) or "none"
            raise EngineError(f"The engine has no model {self.settings.model!r}; it has: {names}.")

    def fill(self) -> None:
        """Have the engine make the wanted passes from those of Cycles, and put them into the render's result.

        Leaves them empty where Cycles has failed, which has then said why and left all of its own passes empty.
        Raises `RenderStopped`, and what `prepare` raises.
        """
        result = self.engine.get_result()
        arrays = neural_passes.read(result, self.name, self.wanted, self.settings.reuse > 0.0)
        if not neural_passes.rendered(arrays):
            return
        combined, made = passes.find(arrays, "image"), {}
        with connect() as client:
            for task in dict.fromkeys(each.task for each in self.wanted):
                answers = self._ask(client, task, neural_passes.inputs(task, arrays, self.camera))
                outputs = exact(answers.outputs, working(), lambda values, _: values)
                for each in self._of(task):
                    made[each.name] = neural_passes.stored(each, outputs[each.channel].data, combined, self.camera)
                    self._stamp(result, each, answers)
        self._write(result, self._steadied(made, arrays) if self.settings.reuse else made)

    def _steadied(self, made: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The passes with some of the frame before in them."""
        picture = finite(passes.find(arrays, "image")[..., :3])
        setting = self.settings, self.framing, tuple(made)
        frame = Frame(self.number, setting, self.view, picture, finite(arrays[MOTION.name]), made)
        unit = frozenset(each.name for each in self.wanted if each.channel == "normals")
        return previous_frame.steadied(self.place, frame, self.settings.reuse, unit)

    def _of(self, task: str) -> list[NeuralPass]:
        return [each for each in self.wanted if each.task == task]

    def _ask(self, client: Client, task: str, channels: dict[str, ChannelImage]) -> Result:
        outputs = tuple(each.channel for each in self._of(task))
        options = {"seed": self.settings.seed, "steps": self.settings.steps, "size": self.settings.size}
        job = Submit(uuid.uuid4().hex, task, self.settings.model, channels, outputs, options)
        self._show(f"Teamwork: {TITLES[task]}")
        return render_job.run(
            client, job, stopped=self.engine.test_break, on_progress=self._show_progress, timeout=self.settings.timeout
        )

    def _write(self, result, made: dict[str, np.ndarray]) -> None:
        layer = next(layer for layer in result.layers if layer.name == self.name)
        targets = {each.name: each for each in layer.passes}
        for name, values in made.items():
            targets[name].rect.foreach_set(values[::-1].reshape(-1))

    def _stamp(self, result, each: NeuralPass, answers: Result) -> None:
        """How the pass was made, for files that hold metadata."""
        for fact in ("model", "model_hash", "seed", "steps"):
            result.stamp_data_add_field(f"teamwork.{self.name}.{each.name}.{fact}", str(answers.info.get(fact, "")))

    def _show(self, line: str) -> None:
        self.engine.update_stats("", line)

    def _show_progress(self, progress: Progress) -> None:
        if progress.total:
            self._show(f"Teamwork: {progress.stage} {progress.step}/{progress.total}")
            self.engine.update_progress(progress.step / progress.total)


def _view(camera: bpy.types.Object | None, matrix) -> tuple:
    """Where a camera stands and what its lens shows: another one is another view."""
    if camera is None or camera.type != "CAMERA":
        return ()
    lens = camera.data
    shown = (lens.type, lens.lens, lens.sensor_width, lens.sensor_height, lens.shift_x, lens.shift_y, lens.ortho_scale)
    return (*(value for row in matrix for value in row), *shown)


def _framing(scene: bpy.types.Scene) -> tuple:
    """Which camera looks, and at which part of its picture: a change of it is a cut."""
    render = scene.render
    border = (render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y)
    return scene.camera and scene.camera.name, render.use_border and border


def connect() -> Client:
    """A connection of the render's own: the one of the panels belongs to the main thread. Starts our engine if need be.

    Raises `EngineError`, `LaunchError` or `WireError`.
    """
    address, credentials, timeout = LINK.route()
    return Client(address() if callable(address) else address, credentials, timeout=timeout, name="blender-render")
