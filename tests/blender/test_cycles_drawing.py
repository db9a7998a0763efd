# SPDX-License-Identifier: GPL-3.0-or-later
"""What Cycles draws into Blender's own panels shows for our engine, too; and a camera that is none harms no render of it."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import pytest

import blender_addon
from blender_addon import render_engine
from tests.blender.conftest import add, looking_down
from tests.blender.recording import Layout
from tests.blender.rendering import ENGINE, turn_on


@pytest.fixture(autouse=True)
def addon(scene):
    """The add-on, and its engine in an empty file."""
    blender_addon.register()
    scene.render.engine = ENGINE
    yield
    blender_addon.unregister()


def drawn(engine: str, place: str = "RENDER_PT_context") -> list[str]:
    """The properties that anybody adds to one of Blender's panels under an engine."""
    layout, context = Layout(), SimpleNamespace(engine=engine, scene=bpy.context.scene, preferences=bpy.context.preferences)
    context.space_data = SimpleNamespace(shading=SimpleNamespace(type="RENDERED"))
    for function in getattr(bpy.types, place).draw._draw_funcs[1:]:
        function(SimpleNamespace(layout=layout), context)
    return [name for kind, name in layout.drawn if kind == "prop"]


@pytest.mark.parametrize("place", ["RENDER_PT_context", "VIEW3D_HT_header"])
def test_the_device_and_the_pause_can_be_chosen(place):
    expected = drawn("CYCLES", place)
    assert {"RENDER_PT_context": "device", "VIEW3D_HT_header": "preview_pause"}[place] in expected
    assert drawn(ENGINE, place) == expected and not drawn("BLENDER_WORKBENCH", place)


def test_nothing_of_it_stays_when_the_engine_is_gone():
    blender_addon.unregister()
    assert drawn(ENGINE) == [] and "device" in drawn("CYCLES")
    blender_addon.register()
    assert drawn(ENGINE) == drawn("CYCLES")


class Rendering:
    """A render of an empty's view. Cycles itself is left out: that of Blender 5.2 crashes there under its own name, too."""

    is_preview = False

    def __init__(self, scene) -> None:
        looking_down(scene)
        scene.camera = add(scene, "Empty", None, (0, 0, 3))
        self.rendered, self.said, self.prepared = False, [], []
        render_engine._render(self, bpy.context.evaluated_depsgraph_get(), self.render)

    def render(self, engine, depsgraph) -> None:
        """What Cycles would do."""
        self.rendered = True

    def report(self, kind, sentence: str) -> None:
        """What the user reads."""
        self.said.append(sentence)


def test_what_an_empty_sees_is_left_to_cycles(scene):
    rendering = Rendering(scene)
    assert rendering.rendered and not rendering.said


def test_neural_passes_of_what_an_empty_sees_are_one_sentence(scene):
    turn_on(scene.view_layers[0], "albedo")
    rendering = Rendering(scene)
    assert rendering.said == ["Empty, through which the view looks, is no camera: choose one."] and not rendering.rendered
