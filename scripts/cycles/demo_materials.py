# SPDX-License-Identifier: GPL-3.0-or-later
"""The still life's materials: procedural, so that they need no files."""

from __future__ import annotations

from typing import Any

from .shaders import Shader, clouds, new_shader, ranged, relief

Colour = tuple[float, float, float]


def _ramp(shader: Shader, source: Any, stops: list[tuple[float, Colour]]) -> Any:
    """A colour that runs through `stops` as the source goes from 0 to 1."""
    ramp = shader.node("ValToRGB").color_ramp
    while len(ramp.elements) < len(stops):
        ramp.elements.new(1.0)
    for element, (position, colour) in zip(ramp.elements, stops, strict=True):
        element.position, element.color = position, (*colour, 1.0)
    node = next(n for n in shader.tree.nodes if n.type == "VALTORGB" and n.color_ramp == ramp)
    shader.link(source, node.inputs[0])
    return node.outputs[0]


def wood() -> Any:
    """An oiled oak board; the grain runs along X."""
    shader = new_shader("Oak")
    grain = clouds(shader, 3.0, 8.0, (0.35, 5.0, 5.0), 0.6)
    stops = [(0.3, (0.09, 0.035, 0.013)), (0.48, (0.28, 0.125, 0.048)), (0.72, (0.42, 0.22, 0.095))]
    shader.drive("albedo", _ramp(shader, grain, stops))
    shader.drive("roughness", ranged(shader, grain, 0.55, 0.3))
    relief(shader, grain, 0.25, 0.02)
    return shader.material


def plaster() -> Any:
    """A lime-washed wall, grey blue."""
    shader = new_shader("Plaster")
    tone = clouds(shader, 1.6, 10.0)
    shader.drive("albedo", _ramp(shader, tone, [(0.3, (0.17, 0.22, 0.25)), (0.7, (0.29, 0.34, 0.36))]))
    shader.drive("roughness", ranged(shader, tone, 0.95, 0.8))
    relief(shader, clouds(shader, 14.0, 8.0), 0.35, 0.03)
    return shader.material


def marble() -> Any:
    """White polished marble with grey veins."""
    shader = new_shader("Marble")
    wave = shader.node("TexWave", Scale=0.55, Distortion=7.0, Detail=5.0)
    wave.inputs["Detail Scale"].default_value = 1.3
    shader.link(shader.node("TexCoord").outputs["Object"], wave.inputs["Vector"])
    stops = [(0.0, (0.26, 0.25, 0.25)), (0.09, (0.48, 0.46, 0.44)), (0.3, (0.66, 0.64, 0.6))]
    shader.drive("albedo", _ramp(shader, wave.outputs["Fac"], stops))
    shader.principled.inputs["Roughness"].default_value = 0.18
    return shader.material


def glaze() -> Any:
    """Stoneware with a teal glaze that thins out to brown, speckled."""
    shader = new_shader("Glaze")
    flow = clouds(shader, 2.2, 6.0, (1.0, 1.0, 0.45), 0.8)
    teal = [(0.32, (0.012, 0.08, 0.095)), (0.52, (0.03, 0.24, 0.24))]
    thin = [(0.66, (0.23, 0.38, 0.3)), (0.74, (0.2, 0.085, 0.03))]
    shader.drive("albedo", _ramp(shader, flow, teal + thin))
    shader.drive("roughness", ranged(shader, flow, 0.12, 0.4, 0.4, 0.75))
    return shader.material


def peel() -> Any:
    """An orange."""
    shader = new_shader("Orange peel")
    tone = clouds(shader, 2.0, 3.0)
    shader.drive("albedo", _ramp(shader, tone, [(0.3, (0.72, 0.17, 0.01)), (0.7, (0.85, 0.3, 0.02))]))
    shader.principled.inputs["Roughness"].default_value = 0.38
    relief(shader, clouds(shader, 26.0, 2.0), 0.4, 0.02)
    return shader.material


def brass() -> Any:
    """Brass with a worn polish."""
    shader = new_shader("Brass")
    wear = clouds(shader, 3.5, 8.0, warp=0.5)
    shader.drive("albedo", _ramp(shader, wear, [(0.35, (0.62, 0.36, 0.12)), (0.6, (0.86, 0.62, 0.28))]))
    shader.drive("roughness", ranged(shader, wear, 0.42, 0.16))
    shader.principled.inputs["Metallic"].default_value = 1.0
    return shader.material


def painted(name: str, colour: Colour, roughness: float = 0.5, grain: float = 0.15) -> Any:
    """Cloth or paper of one colour with a fine grain."""
    shader = new_shader(name)
    shader.principled.inputs["Base Color"].default_value = (*colour, 1.0)
    shader.principled.inputs["Roughness"].default_value = roughness
    relief(shader, clouds(shader, 60.0, 2.0), grain, 0.01)
    return shader.material


def chequers() -> Any:
    """A ball of two woods."""
    shader = new_shader("Inlay")
    squares = shader.node("TexChecker", Scale=8.0)
    squares.inputs["Color1"].default_value = (0.58, 0.4, 0.22, 1.0)
    squares.inputs["Color2"].default_value = (0.06, 0.022, 0.012, 1.0)
    shader.place.inputs["Scale"].default_value = (2.0, 1.0, 1.0)
    shader.link(shader.place.outputs["Vector"], squares.inputs["Vector"])
    shader.drive("albedo", squares.outputs["Color"])
    shader.drive("roughness", ranged(shader, squares.outputs["Fac"], 0.25, 0.5, 0.0, 1.0))
    return shader.material
