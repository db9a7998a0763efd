# SPDX-License-Identifier: GPL-3.0-or-later
"""Base colour, roughness and metalness of every material as render passes, by AOV nodes that are taken away again.

Cycles has passes for light, normals and depth, but none (before 5.2) for what a material is made of. The shader graph
of each material is followed from its output to its shaders, whatever mixes and groups lie between, and the values that
arrive there are sent to AOVs. Two more AOVs tell where a material has written them at all, and how much it hides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import bpy

PREFIX = "Teamwork "
"""What AOVs are called that a user makes for `Neural Image`, before the channel's word."""
TAPPED = "Teamwork tap "
"""The same for those made here: another name, for AOVs of one name add up."""
AOVS = {"albedo": "COLOR", "roughness": "VALUE", "metalness": "VALUE"}
OPACITY = "opacity"
"""How much of what is behind it a surface hides; the others are weighted by it."""
WRITTEN = "written"
"""1 where a material has written the others."""
TAPS = AOVS | {OPACITY: "VALUE", WRITTEN: "VALUE"}
"""What is written here, and as what."""
DEFAULTS = {"albedo": 0.8, "roughness": 0.5, "metalness": 0.0, OPACITY: 1.0}
LARGEST_DEPTH = 32


@dataclass(frozen=True)
class Shader:
    """Which inputs of a shader node hold the values: a socket's name, or a number."""

    albedo: str | float
    roughness: str | float
    metalness: str | float
    opacity: str | float = 1.0


SHADERS = {
    "BSDF_PRINCIPLED": Shader("Base Color", "Roughness", "Metallic", "Alpha"),
    "BSDF_DIFFUSE": Shader("Color", 1.0, 0.0),
    "BSDF_GLOSSY": Shader("Color", "Roughness", 1.0),
    "BSDF_METALLIC": Shader("Base Color", "Roughness", 1.0),
    "BSDF_GLASS": Shader("Color", "Roughness", 0.0),
    "BSDF_REFRACTION": Shader("Color", "Roughness", 0.0),
    "BSDF_TRANSPARENT": Shader(0.0, 0.0, 0.0, 0.0),
    "BSDF_TRANSLUCENT": Shader("Color", 1.0, 0.0),
    "BSDF_SHEEN": Shader("Color", "Roughness", 0.0),
    "BSDF_TOON": Shader("Color", 1.0, 0.0),
    "BSDF_HAIR_PRINCIPLED": Shader("Color", "Roughness", 0.0),
    "SUBSURFACE_SCATTERING": Shader("Color", 1.0, 0.0),
    "EEVEE_SPECULAR": Shader("Base Color", "Roughness", 0.0),
    "EMISSION": Shader(0.0, 1.0, 0.0),
}
"""Shader nodes by their type; any other one counts as `DEFAULTS`."""


class _Taps:
    """All that is added to node trees. `handed` notes which output of a group hands out a channel of its shader, `asked` which
    input of a group takes one of a shader that comes from outside, `fed` at which nodes that has happened."""

    def __init__(self) -> None:
        self.made: list[_Tap] = []
        self.handed: dict[tuple[str, str, str], str | float] = {}
        self.asked: dict[tuple[str, str, str], str] = {}
        self.fed: set[tuple[int, str, str]] = set()

    def on(self, tree: bpy.types.NodeTree) -> _Tap:
        """A new one that remembers what it adds to a tree."""
        self.made.append(_Tap(tree, self))
        return self.made[-1]

    def remove(self) -> None:
        """Leave the trees as they were."""
        for tap in self.made:
            tap.remove()


class _Tap:
    """Adds nodes, and inputs and outputs of a group, to one node tree and remembers them."""

    def __init__(self, tree: bpy.types.NodeTree, taps: _Taps) -> None:
        self.tree, self.taps = tree, taps
        self.added: list[bpy.types.Node] = []
        self.sockets: list[str] = []

    def node(self, kind: str) -> bpy.types.Node:
        node = self.tree.nodes.new(kind)
        self.added.append(node)
        return node

    def socket(self, name: str, way: str) -> str:
        """The identifier of a new colour input or output of this group."""
        item = self.tree.interface.new_socket(TAPPED + name, in_out=way, socket_type="NodeSocketColor")
        self.sockets.append(item.identifier)
        return item.identifier

    def remove(self) -> None:
        for node in self.added:
            self.tree.nodes.remove(node)
        for item in [each for each in self.tree.interface.items_tree if getattr(each, "identifier", "") in self.sockets]:
            self.tree.interface.remove(item)

    def send(self, name: str, value) -> None:
        """Write a value (a socket, or a number) to the AOV of a channel."""
        output = self.node("ShaderNodeOutputAOV")
        output.aov_name = TAPPED + name
        self.feed(output.inputs["Color" if TAPS[name] == "COLOR" else "Value"], value)

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


def _value(tap: _Tap, socket: bpy.types.NodeSocket, name: str, depth: int = 0):
    """What a channel is at a shader socket; a socket or a number. A group on the way is made to take it in and to hand it out."""
    output = _source(socket)
    if not output.is_output or depth > LARGEST_DEPTH:
        return DEFAULTS[name]
    node = output.node
    if node.mute:
        passed = next((link.from_socket for link in node.internal_links if link.to_socket == output), None)
        return DEFAULTS[name] if passed is None else _value(tap, passed, name, depth + 1)
    if node.type == "MIX_SHADER":
        sides = [_value(tap, each, name, depth + 1) for each in node.inputs[1:3]]
        return tap.mix(_source(node.inputs[0]), *sides)
    if node.type == "ADD_SHADER":
        return _value(tap, _brighter(node), name, depth + 1)
    if node.type == "GROUP" and node.node_tree:
        return _handed_out(tap, node, output.identifier, name, depth + 1)
    if node.type == "GROUP_INPUT":
        return _from_outside(tap, node, output.identifier, name)
    return _of_shader(tap, node, name)


def _handed_out(tap: _Tap, node: bpy.types.Node, identifier: str, name: str, depth: int):
    """A channel of one of a group's shaders, through an output of its own: the group may be mixed with others outside, or be
    part of several materials, so that what it wrote itself would be written twice."""
    key = node.node_tree.name_full, identifier, name
    if key not in tap.taps.handed:
        tap.taps.handed[key] = _new_output(tap.taps.on(node.node_tree), identifier, name, depth)
    handed = tap.taps.handed[key]
    _feed_group(tap, node, name, depth)
    return _named(node.outputs, handed) if isinstance(handed, str) else handed


def _new_output(tap: _Tap, identifier: str, name: str, depth: int) -> str | float:
    """The identifier of a group's new output for a channel of one of its shaders; a number where that is all there is."""
    end = next(iter(_ends(tap.tree, identifier)), None)
    value = DEFAULTS[name] if end is None else _value(tap, end, name, depth)
    if isinstance(value, (int, float)):
        return value
    node, made = end.node, tap.socket(name, "OUTPUT")
    tap.feed(_named(node.inputs, made), value)
    return made


def _from_outside(tap: _Tap, node: bpy.types.Node, identifier: str, name: str) -> bpy.types.NodeSocket:
    """A channel of a shader that a group is given, through an input of its own: every user may give another shader."""
    key = tap.tree.name_full, identifier, name
    if key not in tap.taps.asked:
        tap.taps.asked[key] = tap.socket(name, "INPUT")
    return _named(node.outputs, tap.taps.asked[key])


def _feed_group(tap: _Tap, node: bpy.types.Node, name: str, depth: int) -> None:
    """Give a group what it asks for of the shaders that this user of it gives."""
    for (tree, identifier, channel), asked in list(tap.taps.asked.items()):
        key = tap.tree.as_pointer(), node.name, asked  # the trees of all materials have one name
        if tree == node.node_tree.name_full and channel == name and key not in tap.taps.fed:
            tap.taps.fed.add(key)
            value = _value(tap, _named(node.inputs, identifier), name, depth)
            tap.feed(_named(node.inputs, asked), value)


def _named(sockets: Iterable[bpy.types.NodeSocket], identifier: str) -> bpy.types.NodeSocket:
    return next(each for each in sockets if each.identifier == identifier)


def _brighter(node: bpy.types.Node) -> bpy.types.NodeSocket:
    """Of two added shaders the one that is not mere emission: that one carries the surface."""
    first = _source(node.inputs[0])
    emits = first.is_output and first.node.type == "EMISSION"
    return node.inputs[1] if emits or not first.is_output else node.inputs[0]


def _of_shader(tap: _Tap, node: bpy.types.Node, name: str):
    """A channel of a shader, of its own part where it can be seen through."""
    shader = SHADERS.get(node.type, Shader(*DEFAULTS.values()))
    value, opacity = (_source(node.inputs[each]) if isinstance(each, str) else each for each in (getattr(shader, name), shader.opacity))
    hides_all = isinstance(opacity, float) or not (opacity.is_output or opacity.default_value < 1.0)
    return value if hides_all or name == OPACITY else tap.mix(opacity, 0.0, value)


def _ends(group: bpy.types.NodeTree, identifier: str) -> list[bpy.types.NodeSocket]:
    """Where a group's output is fed from within."""
    ends = [node for node in group.nodes if node.type == "GROUP_OUTPUT" and node.is_active_output]
    return [socket for node in ends for socket in node.inputs if socket.identifier == identifier]


def materials_of(scene: bpy.types.Scene) -> list[bpy.types.Material]:
    """The materials of all that a scene can render, each once: those of its objects, of instanced collections, of what
    Geometry Nodes make, and those that a view layer puts in place of all others; those of linked libraries too."""
    found = [slot.material for thing in _things(scene.objects, set()) for slot in thing.material_slots]
    for layer in (each for each in scene.view_layers if each.use):
        found.append(layer.material_override)
        made = layer.depsgraph.ids if layer.depsgraph is not None else ()
        found += [each.original for each in made if isinstance(each, bpy.types.Material)]
    return list(dict.fromkeys(material for material in found if material and material.node_tree))


def _things(objects: Iterable[bpy.types.Object], seen: set[bpy.types.Collection]) -> Iterator[bpy.types.Object]:
    """Objects, and those in collections that they stand for."""
    for thing in objects:
        yield thing
        collection = thing.instance_collection
        if collection is not None and collection not in seen:
            seen.add(collection)
            yield from _things(collection.all_objects, seen)


@contextmanager
def tapped(materials: Iterable[bpy.types.Material]) -> Iterator[None]:
    """Within this block the materials write their base colour, roughness and metalness, `OPACITY` and `WRITTEN`, to
    AOVs named `TAPPED` + channel."""
    taps = _Taps()
    try:
        for material in materials:
            output = material.node_tree.get_output_node("CYCLES")
            if output:
                tap = taps.on(material.node_tree)
                tap.send(WRITTEN, 1.0)
                for name in (*AOVS, OPACITY):
                    tap.send(name, _value(tap, output.inputs[0], name))
        yield
    finally:
        taps.remove()
