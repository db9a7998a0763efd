# SPDX-License-Identifier: GPL-3.0-or-later
"""Principled materials for the scenes: plain, procedural, or from scanned maps."""

from __future__ import annotations

import colorsys
from pathlib import Path

import bpy
import numpy as np

Random = np.random.Generator


def new_material(name: str) -> tuple[bpy.types.Material, bpy.types.Node]:
    """A material with nodes, and its Principled node."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    return material, next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")


def random_colour(random: Random) -> tuple[float, float, float, float]:
    """A scene-linear colour of any hue, more often muted than loud."""
    hue, saturation, value = random.random(), random.random() ** 1.5 * 0.9, random.uniform(0.05, 0.9)
    return (*colorsys.hsv_to_rgb(hue, saturation, value), 1.0)


def plain(random: Random) -> bpy.types.Material:
    """One colour, one roughness; one in six is a metal."""
    material, shader = new_material("plain")
    shader.inputs["Base Color"].default_value = random_colour(random)
    shader.inputs["Roughness"].default_value = float(random.uniform(0.08, 1.0))
    shader.inputs["Metallic"].default_value = float(random.random() < 1 / 6)
    return material


PATTERNS = ("ShaderNodeTexNoise", "ShaderNodeTexVoronoi", "ShaderNodeTexChecker", "ShaderNodeTexBrick", "ShaderNodeTexWave")


def procedural(random: Random) -> bpy.types.Material:
    """Two colours in a pattern, which also bends the roughness and bumps the surface."""
    material, shader = new_material("procedural")
    tree = material.node_tree
    pattern = tree.nodes.new(PATTERNS[random.integers(len(PATTERNS))])
    pattern.inputs["Scale"].default_value = float(random.uniform(3, 14))
    tree.links.new(_coordinates(tree, "Object", float(random.uniform(0.7, 2.0))), pattern.inputs["Vector"])
    factor = next(socket for socket in pattern.outputs if socket.type == "VALUE")
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    for element in ramp.color_ramp.elements:
        element.color = random_colour(random)
    tree.links.new(factor, ramp.inputs[0])
    tree.links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    _range(tree, factor, sorted(random.uniform(0.1, 1.0, 2)), shader.inputs["Roughness"])
    if random.random() < 0.6:
        _bump(tree, factor, float(random.uniform(0.1, 0.6)), shader.inputs["Normal"])
    shader.inputs["Metallic"].default_value = float(random.random() < 0.1)
    return material


def _coordinates(tree: bpy.types.NodeTree, kind: str, scale: float) -> bpy.types.NodeSocket:
    coordinates, mapping = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeMapping")
    mapping.inputs["Scale"].default_value = (scale, scale, scale)
    tree.links.new(coordinates.outputs[kind], mapping.inputs["Vector"])
    return mapping.outputs["Vector"]


def _range(tree: bpy.types.NodeTree, value: bpy.types.NodeSocket, span, target: bpy.types.NodeSocket) -> None:
    node = tree.nodes.new("ShaderNodeMapRange")
    node.inputs["To Min"].default_value, node.inputs["To Max"].default_value = map(float, span)
    tree.links.new(value, node.inputs["Value"])
    tree.links.new(node.outputs["Result"], target)


def _bump(tree: bpy.types.NodeTree, height: bpy.types.NodeSocket, strength: float, target: bpy.types.NodeSocket) -> None:
    node = tree.nodes.new("ShaderNodeBump")
    node.inputs["Strength"].default_value, node.inputs["Distance"].default_value = strength, 0.05
    tree.links.new(height, node.inputs["Height"])
    tree.links.new(node.outputs["Normal"], target)


def scanned(folder: Path, scale: float, interpolation: str = "Linear") -> bpy.types.Material:
    """A material from `basecolor`, `normal` (OpenGL), `roughness` and `metallic` pictures of a folder, on UVs."""
    material, shader = new_material(folder.name)
    tree = material.node_tree
    where = _coordinates(tree, "UV", scale)
    for stem, socket in (("basecolor", "Base Color"), ("roughness", "Roughness"), ("metallic", "Metallic")):
        if file := _file(folder, stem):
            texture = _texture(tree, file, where, "sRGB" if stem == "basecolor" else "Non-Color", interpolation)
            tree.links.new(texture, shader.inputs[socket])
    if file := _file(folder, "normal"):
        node = tree.nodes.new("ShaderNodeNormalMap")
        tree.links.new(_texture(tree, file, where, "Non-Color", interpolation), node.inputs["Color"])
        tree.links.new(node.outputs["Normal"], shader.inputs["Normal"])
    return material


def _file(folder: Path, stem: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{stem}.*"))), None)


def _texture(tree: bpy.types.NodeTree, file: Path, where, space: str, interpolation: str) -> bpy.types.NodeSocket:
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.load(str(file), check_existing=True)
    node.image.colorspace_settings.name = space
    node.interpolation = interpolation
    tree.links.new(where, node.inputs["Vector"])
    return node.outputs["Color"]


def random_material(random: Random, folders: list[Path]) -> bpy.types.Material:
    """Half the time one from scanned maps (if there are any), else procedural or plain."""
    kind = random.random()
    if folders and kind < 0.5:
        return scanned(folders[random.integers(len(folders))], float(random.uniform(1.0, 3.0)))
    return procedural(random) if kind < 0.75 else plain(random)
