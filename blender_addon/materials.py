# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels to a material: a node group with the maps and one mapping, and a Principled shader beside it.

Nodes and sockets are addressed by type and name of the socket, never by the node's label, which Blender translates. Sockets
of our own group have the names that we gave them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import bpy

from .material_options import BUMP, CHANNELS, DISPLACEMENT, NORMAL_MAP

LEFT, ROW, STEP = -900.0, 320.0, 300.0
SOCKETS = {"albedo": "Base Color", "metalness": "Metallic", "roughness": "Roughness"}
KINDS = {"albedo": "NodeSocketColor", "metalness": "NodeSocketFloat", "roughness": "NodeSocketFloat"}
TITLES = {name: title for name, title, _ in CHANNELS}
ORDER = ("albedo", "metalness", "roughness", "normals", "height")
VECTOR, SCALE, STRENGTH, DEPTH = "Vector", "Scale", "Normal Strength", "Relief Depth"
"""Inputs of the group: where, how often, how steep, how deep in metres (the whole range of the height map)."""
DRAWN = ("GREASEPENCIL", "GPENCIL")
"""Objects (the second up to Blender 4.2) whose slots take the materials of strokes only: any other would leave them empty."""


@dataclass(frozen=True)
class Setup:
    """How the maps become a material. `height_scale` is the whole range of the height map as a fraction of the picture's
    width, `size_metres` the width that the picture covers, `scale` how often it repeats over the UV square."""

    height_scale: float = 0.0
    size_metres: float = 1.0
    scale: float = 1.0
    relief: str = NORMAL_MAP

    def relief_for(self, channels: Mapping[str, object]) -> str:
        """The relief that these channels allow: one that lacks its map becomes another."""
        if self.relief != NORMAL_MAP and "height" in channels:
            return self.relief
        return NORMAL_MAP if "normals" in channels else BUMP


def node_tree(owner: bpy.types.Material | bpy.types.World) -> bpy.types.NodeTree:
    """The node tree of a material or a world; up to Blender 4.x it has to be asked for."""
    if owner.node_tree is None:
        owner.use_nodes = True
    return owner.node_tree


def node_of(tree: bpy.types.NodeTree, kind: str) -> bpy.types.Node:
    """The first node of a type, such as BSDF_PRINCIPLED, made if it is missing."""
    makers = {"BSDF_PRINCIPLED": "ShaderNodeBsdfPrincipled", "OUTPUT_MATERIAL": "ShaderNodeOutputMaterial"}
    found = next((node for node in tree.nodes if node.type == kind), None)
    return found or tree.nodes.new(makers[kind])


def build(name: str, images: Mapping[str, bpy.types.Image], setup: Setup = Setup()) -> bpy.types.Material:
    """A new material from the images of some channels (albedo, metalness, roughness, normals, height; any subset).

    Its node group holds the maps and can be used in other materials. Where the normals show the relief, the height map
    stands ready at the group's output Displacement.
    """
    material = bpy.data.materials.new(name)
    tree = node_tree(material)
    shader, output = node_of(tree, "BSDF_PRINCIPLED"), node_of(tree, "OUTPUT_MATERIAL")
    shader.location, output.location = (0, 300), (STEP + 60, 300)
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    node = _group_node(tree, maps_group(name, images, setup))
    moved = setup.relief_for(images) == DISPLACEMENT
    for socket in (*SOCKETS.values(), *(() if moved else ("Normal",))):  # else the relief would be there twice
        if socket in node.outputs:
            tree.links.new(node.outputs[socket], shader.inputs[socket])
    if moved:
        tree.links.new(node.outputs["Displacement"], output.inputs["Displacement"])
        _displace_truly(material)
    return material


def _group_node(tree: bpy.types.NodeTree, group: bpy.types.NodeTree) -> bpy.types.Node:
    """The group in a material, fed with UV coordinates."""
    place, node = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeGroup")
    node.node_tree, node.label, node.width = group, group.name, 220.0
    node.location, place.location = (-STEP, 300), (-2 * STEP, 200)
    tree.links.new(place.outputs["UV"], node.inputs[VECTOR])
    return node


def maps_group(name: str, images: Mapping[str, bpy.types.Image], setup: Setup) -> bpy.types.NodeTree:
    """The node group: Vector and one Scale in; the shader's inputs, and Displacement where there is height, out."""
    tree = bpy.data.node_groups.new(name, "ShaderNodeTree")
    start, end = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
    start.location, end.location = (LEFT - 2 * STEP, 100), (2 * STEP, 300)
    _inputs(tree, setup, images)
    vector = _mapping(tree, start)
    for row, channel in enumerate(channel for channel in ORDER if channel in images):
        texture = _texture(tree, images[channel], channel, vector, row)
        if channel in SOCKETS:
            tree.interface.new_socket(SOCKETS[channel], in_out="OUTPUT", socket_type=KINDS[channel])
            tree.links.new(texture.outputs["Color"], end.inputs[SOCKETS[channel]])
    _relief(tree, start, end, images, setup.relief_for(images))
    return tree


def _inputs(tree: bpy.types.NodeTree, setup: Setup, images: Mapping[str, object]) -> None:
    tree.interface.new_socket(VECTOR, in_out="INPUT", socket_type="NodeSocketVector")
    values = {SCALE: setup.scale}
    if "normals" in images:
        values[STRENGTH] = 1.0
    if "height" in images:
        values[DEPTH] = setup.height_scale * setup.size_metres
    for title, value in values.items():
        socket = tree.interface.new_socket(title, in_out="INPUT", socket_type="NodeSocketFloat")
        socket.default_value, socket.min_value = value, 0.0


def _mapping(tree: bpy.types.NodeTree, start: bpy.types.Node) -> bpy.types.NodeSocket:
    """The texture coordinates, scaled by the group's one value."""
    mapping = tree.nodes.new("ShaderNodeMapping")
    mapping.location = (LEFT - STEP, 100)
    tree.links.new(start.outputs[VECTOR], mapping.inputs["Vector"])
    tree.links.new(start.outputs[SCALE], mapping.inputs["Scale"])
    return mapping.outputs["Vector"]


def _texture(tree, image: bpy.types.Image, channel: str, vector, row: int) -> bpy.types.Node:
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image, node.label = image, TITLES[channel]
    node.name = f"Teamwork {channel}"
    node.location = (LEFT + STEP, 700 - row * ROW)
    tree.links.new(vector, node.inputs["Vector"])
    return node


def _relief(tree, start, end, images: Mapping[str, object], relief: str) -> None:
    """The group's Normal, by one of two ways, and its Displacement."""
    if "height" in images:
        depth = _depth(tree, start)
        _out(tree, end, "Displacement", _displacement(tree, depth).outputs["Displacement"])
    if relief == BUMP and "height" in images:
        _out(tree, end, "Normal", _bump(tree, depth).outputs["Normal"])
    elif "normals" in images:
        _out(tree, end, "Normal", _normal_map(tree, start).outputs["Normal"])


def _out(tree, end, name: str, socket: bpy.types.NodeSocket) -> None:
    tree.interface.new_socket(name, in_out="OUTPUT", socket_type="NodeSocketVector")
    tree.links.new(socket, end.inputs[name])


def _depth(tree, start) -> bpy.types.NodeSocket:
    """Metres of relief: maps that repeat more often are smaller, and so is their relief."""
    node = tree.nodes.new("ShaderNodeMath")
    node.operation, node.location = "DIVIDE", (LEFT - STEP, -350)
    tree.links.new(start.outputs[DEPTH], node.inputs[0])
    tree.links.new(start.outputs[SCALE], node.inputs[1])
    return node.outputs[0]


def _normal_map(tree: bpy.types.NodeTree, start: bpy.types.Node) -> bpy.types.Node:
    node, texture = tree.nodes.new("ShaderNodeNormalMap"), tree.nodes["Teamwork normals"]
    node.location = (-STEP, texture.location.y)
    tree.links.new(start.outputs[STRENGTH], node.inputs["Strength"])
    tree.links.new(texture.outputs["Color"], node.inputs["Color"])
    return node


def _displacement(tree: bpy.types.NodeTree, depth: bpy.types.NodeSocket) -> bpy.types.Node:
    node, texture = tree.nodes.new("ShaderNodeDisplacement"), tree.nodes["Teamwork height"]
    node.location = (-STEP, texture.location.y)
    node.inputs["Midlevel"].default_value = 0.5
    tree.links.new(depth, node.inputs["Scale"])
    tree.links.new(texture.outputs["Color"], node.inputs["Height"])
    return node


def _bump(tree: bpy.types.NodeTree, depth: bpy.types.NodeSocket) -> bpy.types.Node:
    node, texture = tree.nodes.new("ShaderNodeBump"), tree.nodes["Teamwork height"]
    node.location = (-STEP, texture.location.y + 250)  # above the displacement
    tree.links.new(depth, node.inputs["Distance"])
    tree.links.new(texture.outputs["Color"], node.inputs["Height"])
    return node


def _displace_truly(material: bpy.types.Material) -> None:
    """Move the mesh itself, and bump what is finer: the property sits on the material since 4.1, and on its Cycles settings
    before."""
    owner = material if hasattr(material, "displacement_method") else material.cycles
    owner.displacement_method = "BOTH"


def group_of(material: bpy.types.Material) -> bpy.types.NodeTree | None:
    """The node group with a material's maps; None for another material."""
    groups = (node.node_tree for node in node_tree(material).nodes if node.type == "GROUP" and node.node_tree)
    return next((tree for tree in groups if any(node.name.startswith("Teamwork ") for node in tree.nodes)), None)


def maps_of(material: bpy.types.Material) -> dict[str, bpy.types.Image]:
    """The images of a material that was built here, by channel."""
    tree = group_of(material)
    nodes = {channel: tree.nodes.get(f"Teamwork {channel}") for channel in ORDER} if tree else {}
    return {channel: node.image for channel, node in nodes.items() if node and node.image}


def apply_to(thing: bpy.types.Object | None, material: bpy.types.Material, slot: int = -1) -> bool:
    """Put the material into a slot of the object, the active one by default; a new one if there is none such. False if the
    object cannot take any. What is linked from another file is not changed, since that would not be saved: a slot of such a
    mesh becomes the object's own."""
    if thing is None or thing.library is not None or thing.type in DRAWN or not hasattr(thing.data, "materials"):
        return False
    index, linked = thing.active_material_index if slot < 0 else slot, thing.data.library is not None
    if index < len(thing.material_slots):
        chosen = thing.material_slots[index]
        chosen.link = "OBJECT" if linked else chosen.link
        chosen.material = material
    elif not linked:
        thing.data.materials.append(material)
    else:
        return False
    return True


def has_uv(thing: bpy.types.Object) -> bool:
    """Has it coordinates for maps? Curves always have, and a mesh may get some by Geometry Nodes."""
    return thing.type != "MESH" or bool(thing.data.uv_layers) or any(each.type == "NODES" for each in thing.modifiers)
