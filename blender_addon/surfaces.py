# SPDX-License-Identifier: GPL-3.0-or-later
"""Base colour, roughness and metalness of every material as render passes, by AOV nodes that are taken away again.

Cycles has passes for light, normals and depth, but none (before 5.2) for what a material is made of. The shader graph
of each material is followed from its output to its shaders, whatever mixes and groups lie between, and the values that
arrive there are sent to AOVs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import bpy

PREFIX = "Teamwork "
AOVS = {"albedo": "COLOR", "roughness": "VALUE", "metalness": "VALUE"}
DEFAULTS = {"albedo": 0.8, "roughness": 0.5, "metalness": 0.0}
LARGEST_DEPTH = 32


@dataclass(frozen=True)
class Shader:
    """Which inputs of a shader node hold the three values: a socket's name, or a number."""

    albedo: str | float
    roughness: str | float
    metalness: str | float


SHADERS = {
    "BSDF_PRINCIPLED": Shader("Base Color", "Roughness", "Metallic"),
    "BSDF_DIFFUSE": Shader("Color", 1.0, 0.0),
    "BSDF_GLOSSY": Shader("Color", "Roughness", 1.0),
    "BSDF_METALLIC": Shader("Base Color", "Roughness", 1.0),
    "BSDF_GLASS": Shader("Color", "Roughness", 0.0),
    "BSDF_REFRACTION": Shader("Color", "Roughness", 0.0),
    "BSDF_TRANSPARENT": Shader("Color", 0.0, 0.0),
    "BSDF_TRANSLUCENT": Shader("Color", 1.0, 0.0),
    "BSDF_SHEEN": Shader("Color", "Roughness", 0.0),
    "BSDF_TOON": Shader("Color", 1.0, 0.0),
    "BSDF_HAIR_PRINCIPLED": Shader("Color", "Roughness", 0.0),
    "SUBSURFACE_SCATTERING": Shader("Color", 1.0, 0.0),
    "EEVEE_SPECULAR": Shader("Base Color", "Roughness", 0.0),
    "EMISSION": Shader(0.0, 1.0, 0.0),
}
"""Shader nodes by their type; any other one counts as `DEFAULTS`."""


class _Tap:
    """Adds nodes to one node tree and remembers them."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self.tree = tree
        self.added: list[bpy.types.Node] = []

    def node(self, kind: str) -> bpy.types.Node:
        node = self.tree.nodes.new(kind)
        self.added.append(node)
        return node

    def remove(self) -> None:
        for node in self.added:
            self.tree.nodes.remove(node)

    def send(self, name: str, value) -> None:
        """Write a value (a socket, or a number) to the AOV of a channel."""
        output = self.node("ShaderNodeOutputAOV")
        output.aov_name = PREFIX + name
        self.feed(output.inputs["Color" if AOVS[name] == "COLOR" else "Value"], value)

    def feed(self, socket: bpy.types.NodeSocket, value) -> None:
        """Give an input a value: a link from an output socket, an unlinked input's own value, or a number."""
        if isinstance(value, (int, float)):
            socket.default_value = (value, value, value, 1.0) if socket.type == "RGBA" else value
        elif value.is_output:
            self.tree.links.new(value, socket)
        else:
            _copy_default(value, socket)

    def mix(self, factor, first, second):
        """first * (1 - factor) + second * factor, as a colour."""
        node = self.node("ShaderNodeMixRGB")
        for socket, value in zip(node.inputs, (factor, first, second), strict=True):
            self.feed(socket, value)
        return node.outputs[0]


def _copy_default(source: bpy.types.NodeSocket, target: bpy.types.NodeSocket) -> None:
    value = source.default_value
    if target.type == "RGBA" and source.type != "RGBA":
        value = (value, value, value, 1.0)
    target.default_value = value


def _source(socket: bpy.types.NodeSocket):
    """What feeds an input: the linked output (through reroutes), or the input itself."""
    for _ in range(LARGEST_DEPTH):
        if not socket.is_linked or not socket.links or socket.links[0].is_muted:
            return socket
        output = socket.links[0].from_socket
        if output.node.type != "REROUTE":
            return output
        socket = output.node.inputs[0]
    return socket


def _value(tap: _Tap, socket: bpy.types.NodeSocket, name: str, groups: list, depth: int = 0):
    """What a channel is at a shader socket; a socket or a number. Groups met on the way are noted in `groups`."""
    output = _source(socket)
    if not output.is_output or depth > LARGEST_DEPTH:
        return DEFAULTS[name]
    node = output.node
    if node.type == "MIX_SHADER":
        sides = [_value(tap, each, name, groups, depth + 1) for each in node.inputs[1:3]]
        return tap.mix(_source(node.inputs[0]), *sides)
    if node.type == "ADD_SHADER":
        return _value(tap, _brighter(node), name, groups, depth + 1)
    if node.type == "GROUP" and node.node_tree:
        groups.append((node.node_tree, output.identifier))
        return None
    return _of_shader(node, name)


def _brighter(node: bpy.types.Node) -> bpy.types.NodeSocket:
    """Of two added shaders the one that is not mere emission: that one carries the surface."""
    first = _source(node.inputs[0])
    emits = first.is_output and first.node.type == "EMISSION"
    return node.inputs[1] if emits or not first.is_output else node.inputs[0]


def _of_shader(node: bpy.types.Node, name: str):
    entry = getattr(SHADERS.get(node.type, Shader(*DEFAULTS.values())), name)
    return _source(node.inputs[entry]) if isinstance(entry, str) else entry


def _tap_tree(tree: bpy.types.NodeTree, surface: bpy.types.NodeSocket, taps: list[_Tap], seen: set) -> None:
    """Send the channels of what arrives at `surface`; a group whose shader arrives there sends them from within."""
    tap = _Tap(tree)
    taps.append(tap)
    groups: list = []
    for name in AOVS:
        value = _value(tap, surface, name, groups)
        if value is not None and not groups:
            tap.send(name, value)
    for group, identifier in dict.fromkeys(groups):
        if (group.name_full, identifier) not in seen:
            seen.add((group.name_full, identifier))
            _tap_group(group, identifier, taps, seen)


def _tap_group(group: bpy.types.NodeTree, identifier: str, taps: list[_Tap], seen: set) -> None:
    ends = [node for node in group.nodes if node.type == "GROUP_OUTPUT" and node.is_active_output]
    for socket in (s for node in ends for s in node.inputs if s.identifier == identifier):
        _tap_tree(group, socket, taps, seen)


def materials_of(scene: bpy.types.Scene) -> list[bpy.types.Material]:
    """The materials of all objects of a scene that can be rendered, each once, those of linked libraries too."""
    slots = (slot.material for thing in scene.objects for slot in thing.material_slots)
    return list(dict.fromkeys(material for material in slots if material and material.node_tree))


@contextmanager
def tapped(materials: Iterable[bpy.types.Material]) -> Iterator[None]:
    """Within this block the materials write their base colour, roughness and metalness to AOVs named `PREFIX` + channel."""
    taps: list[_Tap] = []
    try:
        for material in materials:
            output = material.node_tree.get_output_node("CYCLES")
            if output:
                _tap_tree(material.node_tree, output.inputs[0], taps, set())
        yield
    finally:
        for tap in taps:
            tap.remove()
