# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a light and gives it a form: a window with panes, a blind, leaves. Photographers call it a gobo."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import objects
from .rendering import node_of
from .shaders import Shader, clouds, new_shader, ranged

Random = np.random.Generator
AWAY = 6.0  # from the origin, so that nothing stands in it
EXTENT = 16.0  # large enough that hardly any light comes round it to where the things are


def put_before(lamp: Any, random: Random) -> Any:
    """A sheet between a lamp and the origin that lets some of the light through; cameras do not see it. Gives the sheet."""
    sheet = objects.paint(objects.sheet(EXTENT), _material(random))
    sheet.location, sheet.rotation_euler = AWAY * lamp.location.normalized(), lamp.rotation_euler
    sheet.visible_camera = sheet.visible_glossy = False
    return sheet


def _material(random: Random) -> Any:
    """Black, and transparent where one of the patterns is 1."""
    shader = new_shader("gobo")
    pattern = (_panes, _blind, _leaves)[random.integers(3)]
    mix, black = shader.node("MixShader"), shader.node("BsdfDiffuse", Color=(0.0, 0.0, 0.0, 1.0))
    shader.link(pattern(shader, random), mix.inputs["Fac"])
    shader.link(black.outputs["BSDF"], mix.inputs[1])
    shader.link(shader.node("BsdfTransparent").outputs["BSDF"], mix.inputs[2])
    shader.link(mix.outputs[0], node_of(shader.tree, "OUTPUT_MATERIAL").inputs["Surface"])
    shader.tree.nodes.remove(shader.principled)
    return shader.material


def _place(shader: Shader) -> Any:
    """Metres on the sheet, from its middle."""
    return shader.node("TexCoord").outputs["Object"]


def _math(shader: Shader, operation: str, first: Any, second: Any) -> Any:
    """The output of a Math node of two outputs or numbers."""
    node = shader.tree.nodes.new("ShaderNodeMath")
    node.operation = operation
    for socket, value in zip(node.inputs, (first, second), strict=False):
        if isinstance(value, float):
            socket.default_value = value
        else:
            shader.link(value, socket)
    return node.outputs["Value"]


def _within(shader: Shader, axis: int, half: float) -> Any:
    """1 where a coordinate is at most `half` from the middle."""
    split = shader.node("SeparateXYZ")
    shader.link(_place(shader), split.inputs[0])
    return _math(shader, "LESS_THAN", _math(shader, "ABSOLUTE", split.outputs[axis], 0.0), half)


def _panes(shader: Shader, random: Random) -> Any:
    """One window, divided by bars."""
    wide, high = (float(size) for size in random.uniform(0.3, 1.2, 2))
    bars = shader.node("TexBrick", Scale=1.0, Mortar_Size=float(random.uniform(0.01, 0.05)), Mortar_Smooth=0.0)
    bars.offset = 0.0
    for name, grey in (("Color1", 1.0), ("Color2", 1.0), ("Mortar", 0.0)):
        bars.inputs[name].default_value = (grey, grey, grey, 1.0)
    bars.inputs["Brick Width"].default_value = wide / float(random.integers(1, 4))
    bars.inputs["Row Height"].default_value = high / float(random.integers(1, 4))
    shader.link(_place(shader), bars.inputs["Vector"])
    inside = _math(shader, "MULTIPLY", _within(shader, 0, wide), _within(shader, 1, high))
    return _math(shader, "MULTIPLY", inside, bars.outputs["Color"])


def _blind(shader: Shader, random: Random) -> Any:
    """Slats across all of it."""
    slats = shader.node("TexWave", Scale=float(random.uniform(0.8, 2.5)), Distortion=0.0)
    slats.bands_direction = str(random.choice(["X", "Y"]))
    shader.link(_place(shader), slats.inputs["Vector"])
    wave = slats.outputs["Fac"] if "Fac" in slats.outputs else slats.outputs[0]
    return _math(shader, "GREATER_THAN", wave, float(random.uniform(0.3, 0.7)))


def _leaves(shader: Shader, random: Random) -> Any:
    """Openings of any form, sharp or soft."""
    soft = float(random.uniform(0.01, 0.1))
    return ranged(shader, clouds(shader, float(random.uniform(0.8, 4.0)), 5.0), 0.0, 1.0, 0.5 - soft, 0.5 + soft)
