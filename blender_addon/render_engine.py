# SPDX-License-Identifier: GPL-3.0-or-later
"""The render engine "Teamwork (Cycles)": Cycles renders, and the engine adds its passes to what Cycles made.

Everything but the neural passes is Cycles' own: the functions of its engine class are taken over as they are (its
class must not be inherited from: Blender then loses the engine Cycles). Cycles' panels show for this engine, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import bpy

from . import neural_passes, previous_frame
from .engine import EngineError
from .launcher import LaunchError
from .passes import PassError
from .render_job import RenderStopped
from .render_layer import NeuralLayer
from .wire import WireError

log = logging.getLogger(__name__)

IDENTIFIER = "TEAMWORK_CYCLES"
DELEGATED = (
    *("update", "draw", "bake", "view_update", "view_draw"),
    *("update_script_node", "update_custom_camera"),
)
"""What Cycles does for us without a change."""
AWAY = (EngineError, LaunchError, WireError)
"""What the user may have chosen to render without."""
CYCLES_PASSES = "CYCLES_RENDER_PT_passes"
"""Cycles' panel in the view layer's properties that holds the passes."""
WITHOUT = "The neural passes are empty."

_registered: list[type] = []
_drawn: list[tuple[type, Callable]] = []
"""What was added to which of Blender's panels."""
_outermost: list[str] = []
"""The scene that is being rendered; the renders of others, which strips of its sequencer show, begin and end with each frame."""


def _make_engine() -> type:
    """The engine's class, made from the functions that this version of Cycles has."""
    import cycles

    class TeamworkCycles(bpy.types.RenderEngine):
        """Cycles, with passes that a diffusion team adds"""

        bl_idname = IDENTIFIER
        bl_label = "Teamwork (Cycles)"
        bl_use_preview = True
        bl_use_eevee_viewport = True
        bl_use_exclude_layers = True
        bl_use_spherical_stereo = True
        bl_use_custom_freestyle = True

        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            self.session = None
            self.prepared: list[NeuralLayer] = []

        def __del__(self) -> None:
            with suppress(ReferenceError):  # Blender may have taken the engine away first
                cycles.engine.free(self)

        def render(self, depsgraph: bpy.types.Depsgraph) -> None:
            _render(self, depsgraph, cycles.engine.render)

        def render_frame_finish(self) -> None:
            cycles.engine.render_frame_finish(self)
            _fill(self)

        def update_render_passes(self, scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> None:
            _register_passes(self, scene, layer, cycles.engine)

    for name in DELEGATED:
        function = cycles.CyclesRender.__dict__.get(name)
        if function is not None:
            setattr(TeamworkCycles, name, function)
    return TeamworkCycles


def _register_passes(engine, scene: bpy.types.Scene, layer: bpy.types.ViewLayer, cycles) -> None:
    """Cycles' passes, those that the neural ones are made from, and the neural ones."""
    cycles.register_passes(engine, scene, layer)
    known = {name for name, *_ in cycles.list_render_passes(scene, layer)}
    wanted = neural_passes.chosen(layer)
    moving = scene.teamwork_render.reuse > 0.0
    for each in (*neural_passes.sources(wanted, moving), *wanted):
        if each.name not in known:
            engine.register_pass(scene, layer, each.name, len(each.components), each.components, each.kind)


def _render(engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph, cycles_render: Callable) -> None:
    """Cycles' part of one view layer. What goes wrong is one sentence: it ends the render, or is a warning if the user chose so."""
    if engine.is_preview or not neural_passes.chosen(depsgraph.view_layer_eval):
        cycles_render(engine, depsgraph)
        return
    layer = NeuralLayer(engine, depsgraph)
    if _spoken(engine, layer, partial(layer.prepare, depsgraph.scene_eval)):
        cycles_render(engine, depsgraph)
        engine.prepared.append(layer)
    elif layer.goes_on:
        cycles_render(engine, depsgraph)
    else:
        engine.prepared.clear()  # nothing will be kept of this frame


def _fill(engine: bpy.types.RenderEngine) -> None:
    """The neural passes of all view layers: where Cycles renders in tiles, as it does at 4K, its passes are there only when it has
    finished the frame."""
    layers, engine.prepared = engine.prepared, []
    for layer in layers:
        if engine.test_break() or not (_spoken(engine, layer, layer.fill) or layer.goes_on):
            return


def _spoken(engine: bpy.types.RenderEngine, layer: NeuralLayer, step: Callable[[], None]) -> bool:
    """Do a step of the neural passes; False when it failed and the user has been told why in one sentence."""
    try:
        step()
    except RenderStopped:
        return False
    except KeyboardInterrupt:  # a script's user, where Python is the host: Blender itself has its own way to stop
        engine.report({"ERROR"}, "The render was interrupted.")
    except PassError as error:
        engine.report({"ERROR"}, str(error))
    except AWAY as error:
        layer.goes_on = layer.settings.without_engine == "SKIP"
        kind, more = ("WARNING", f" {WITHOUT}") if layer.goes_on else ("ERROR", "")
        engine.report({kind}, f"{error}{more}")
    except Exception as error:
        log.debug("the neural passes of %s failed", layer.name, exc_info=True)
        what = f"{type(error).__name__}: {error}"
        engine.report({"ERROR"}, f"The neural passes did not work, which is a fault of Teamwork ({what}).")
    else:
        return True
    return False


class _AsCycles:
    """A context in which Cycles' own drawing finds itself at home."""

    engine = "CYCLES"

    def __init__(self, context: bpy.types.Context) -> None:
        self._context = context

    def __getattr__(self, name: str):
        return getattr(self._context, name)


def _for_us(draw: Callable) -> Callable:
    """What Cycles adds to one of Blender's panels for itself alone, for our engine."""

    def drawn(panel: bpy.types.Panel, context: bpy.types.Context) -> None:
        if context.engine == IDENTIFIER:
            draw(panel, _AsCycles(context))

    return drawn


def _cycles_additions() -> Iterator[tuple[type, Callable]]:
    """Blender's panels and headers, and what Cycles draws there: the device it renders on, and the pause of the viewport."""
    from cycles import ui

    for place, name in (("RENDER_PT_context", "draw_device"), ("VIEW3D_HT_header", "draw_pause")):
        draw = getattr(ui, name, None)
        if draw is not None:
            yield getattr(bpy.types, place), _for_us(draw)


def _cycles_panels() -> Iterator[set[str]]:
    """The engine names of all panels that show for Cycles, Cycles' own and Blender's."""
    for panel in bpy.types.Panel.__subclasses__():
        names = getattr(panel, "COMPAT_ENGINES", None)
        if isinstance(names, set) and "CYCLES" in names:
            yield names


def has_cycles() -> bool:
    """Is Cycles, which is an add-on too, turned on? Its panel tells: engine classes are not among `bpy.types`."""
    return hasattr(bpy.types, CYCLES_PASSES)


@bpy.app.handlers.persistent
def _note_outermost(scene: bpy.types.Scene, *_) -> None:
    """A frame begins."""
    if not _outermost:
        _outermost.append(scene.name_full)


@bpy.app.handlers.persistent
def _forget_frames(scene: bpy.types.Scene, *_) -> None:
    """A render has begun or ended: there is no frame before this one."""
    if not _outermost or scene.name_full in _outermost:
        _outermost.clear()
        previous_frame.forget()


def _render_bounds() -> tuple[list, ...]:
    """The handlers of Blender for the beginning and the ends of a render."""
    handlers = bpy.app.handlers
    return handlers.render_init, handlers.render_complete, handlers.render_cancel


def register() -> None:
    """Add the engine, unless this Blender has no Cycles."""
    if not has_cycles():
        return
    engine = _make_engine()
    bpy.utils.register_class(engine)
    _registered.append(engine)
    for names in _cycles_panels():
        names.add(IDENTIFIER)
    for place, drawn in _cycles_additions():
        place.append(drawn)
        _drawn.append((place, drawn))
    for bound in _render_bounds():
        bound.append(_forget_frames)
    bpy.app.handlers.render_pre.append(_note_outermost)


def unregister() -> None:
    """Take it away again."""
    for bound in _render_bounds():
        if _forget_frames in bound:
            bound.remove(_forget_frames)
    if _note_outermost in bpy.app.handlers.render_pre:
        bpy.app.handlers.render_pre.remove(_note_outermost)
    _outermost.clear()
    previous_frame.forget()
    while _drawn:
        place, drawn = _drawn.pop()
        place.remove(drawn)
    for names in _cycles_panels():
        names.discard(IDENTIFIER)
    while _registered:
        bpy.utils.unregister_class(_registered.pop())
