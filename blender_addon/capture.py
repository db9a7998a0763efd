# SPDX-License-Identifier: GPL-3.0-or-later
"""Cycles' passes as arrays, without files: a render engine that lets Cycles render and then reads the result.

The engine is registered for the one render that it serves, so that nothing of it shows in Blender's menus.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress

import bpy
import numpy as np

from . import unkeyed

IDENTIFIER = "TEAMWORK_CAPTURE"


class CaptureError(Exception):
    """A render could not be made; the text is one sentence for the user."""


def _engine(captured: dict[str, np.ndarray]) -> type:
    """A render engine class whose renders land in `captured`: pass name -> H x W x C, rows from the top."""
    from cycles import engine as cycles

    class Capture(bpy.types.RenderEngine):
        bl_idname = IDENTIFIER
        bl_label = "Teamwork capture"
        bl_use_eevee_viewport = True
        bl_use_exclude_layers = True

        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            self.session = None
            self.layer = ""

        def __del__(self) -> None:
            with suppress(ReferenceError):  # Blender may have taken the engine away first
                cycles.free(self)

        def update(self, data, depsgraph) -> None:
            if not self.session:
                cycles.create(self, data)
            cycles.reset(self, data, depsgraph)

        def render(self, depsgraph) -> None:
            self.layer = depsgraph.view_layer_eval.name  # Cycles frees the evaluated scene as soon as it has what it needs
            cycles.render(self, depsgraph)

        def render_frame_finish(self) -> None:
            cycles.render_frame_finish(self)  # where it renders in tiles, as it does at 4K, its passes are there only now
            captured.update(read_layer(self.get_result(), self.layer))

        def update_render_passes(self, scene, layer) -> None:
            cycles.register_passes(self, scene, layer)

    return Capture


def read_layer(result, layer_name: str, names: Container[str] | None = None) -> dict[str, np.ndarray]:
    """Passes of one view layer in a render engine's result: {pass name: H x W x C float32}, rows from the top.

    All of them, or those with one of `names`.
    """
    layer = next(layer for layer in result.layers if layer.name == layer_name)
    size = result.resolution_y, result.resolution_x
    return {each.name: _rect(each, *size) for each in layer.passes if names is None or each.name in names}


def _rect(render_pass, height: int, width: int) -> np.ndarray:
    values = np.empty(height * width * render_pass.channels, np.float32)
    render_pass.rect.foreach_get(values)
    return np.ascontiguousarray(values.reshape(height, width, render_pass.channels)[::-1])


@contextmanager
def _registered(captured: dict[str, np.ndarray]) -> Iterator[None]:
    engine = _engine(captured)
    bpy.utils.register_class(engine)
    try:
        yield
    finally:
        bpy.utils.unregister_class(engine)  # one that stays keeps Blender 4.5 from ending


@contextmanager
def _scene_camera() -> Iterator[None]:
    """Within this block the viewport in which we are has no camera of its own, which Blender would render instead of the scene's."""
    space = bpy.context.space_data
    if getattr(space, "type", "") != "VIEW_3D" or not space.use_local_camera:
        yield
        return
    kept = space.camera
    space.use_local_camera = False
    try:
        yield
    finally:
        space.use_local_camera = True
        space.camera = kept  # without one of its own the viewport has taken over the scene's


def render(scene: bpy.types.Scene) -> dict[str, np.ndarray]:
    """Render the first enabled view layer of a scene with its Cycles settings: {pass name: H x W x C float32}.

    Rows run from the top; names are Blender's own, which differ between 4.x and 5.x (see `passes`). The scene's render
    engine is put back, and so is what is moved and not keyed. Raises `CaptureError` with Blender's reason.
    """
    captured: dict[str, np.ndarray] = {}
    before = scene.render.engine
    with _registered(captured):
        scene.render.engine = IDENTIFIER
        try:
            with unkeyed.kept(), _scene_camera():
                bpy.ops.render.render(scene=scene.name)
        except RuntimeError as error:
            raise CaptureError(f"Blender could not render the scene: {str(error).strip()}") from error
        finally:
            scene.render.engine = before
    if "Combined" not in captured:
        raise CaptureError("The render was stopped before it had a picture.")
    return captured
