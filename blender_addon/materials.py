# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels to a material: image textures, one mapping, a Principled shader.

Nodes and sockets are addressed by type and name of the socket, never by the node's label, which Blender translates.
"""

from __future__ import annotations

from collections.abc import Mapping

import bpy

LEFT, ROW, STEP = -900.0, 320.0, 300.0
SOCKETS = {"albedo": "Base Color", "metalness": "Metallic", "roughness": "Roughness"}
TITLES = {
    "albedo": "Base Color",
    "metalness": "Metallic",
    "roughness": "Roughness",
    "normals": "Normal",
    "height": "Height",
}


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


def build(
    name: str,
    images: Mapping[str, bpy.types.Image],
    height_scale: float = 0.0,
    size_metres: float = 1.0,
    displace: bool = False,
) -> bpy.types.Material:
    """A new material from the images of some channels (albedo, metalness, roughness, normals, height; any subset).

    One value node scales all textures. `height_scale` is the whole range of the height map as a fraction of the
    picture's width, `size_metres` the width that the picture covers. The height map becomes displacement if `displace`
    is set or there are no normals; else it stands ready beside the shader, since the normals already show its relief.
    """
    material = bpy.data.materials.new(name)
    tree = node_tree(material)
    shader, output = node_of(tree, "BSDF_PRINCIPLED"), node_of(tree, "OUTPUT_MATERIAL")
    shader.location, output.location = (0, 300), (STEP + 60, 300)
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    vector = _mapping(tree)
    for row, channel in enumerate(channel for channel in TITLES if channel in images):
        texture = _texture(tree, images[channel], channel, vector, row)
        if channel in SOCKETS:
            tree.links.new(texture.outputs["Color"], shader.inputs[SOCKETS[channel]])
    _relief(tree, shader, output, images, height_scale * size_metres, displace)
    if displace and "height" in images:
        _displace_truly(material)
    return material


def _mapping(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
    """Texture coordinates: UV, scaled by one value node."""
    place, mapping, scale = (
        tree.nodes.new(f"ShaderNode{kind}") for kind in ("TexCoord", "Mapping", "Value")
    )
    place.location, mapping.location, scale.location = (LEFT - 3 * STEP, 100), (LEFT - STEP, 100), (LEFT - 2 * STEP, -60)
    scale.outputs[0].default_value = 1.0
    scale.label = scale.name = "Scale"
    tree.links.new(place.outputs["UV"], mapping.inputs["Vector"])
    tree.links.new(scale.outputs[0], mapping.inputs["Scale"])
    return mapping.outputs["Vector"]


def _texture(tree, image: bpy.types.Image, channel: str, vector, row: int) -> bpy.types.Node:
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image, node.label = image, TITLES[channel]
    node.name = f"Teamwork {channel}"
    node.location = (LEFT + STEP, 700 - row * ROW)
    tree.links.new(vector, node.inputs["Vector"])
    return node


def _relief(tree, shader, output, images: Mapping, height_metres: float, displace: bool) -> None:
    if "normals" in images:
        _normal_map(tree, shader)
    if "height" in images:
        node = _displacement(tree, height_metres)
        if displace:
            tree.links.new(node.outputs["Displacement"], output.inputs["Displacement"])
        elif "normals" not in images:
            _bump(tree, shader, height_metres)


def _normal_map(tree: bpy.types.NodeTree, shader: bpy.types.Node) -> None:
    node = tree.nodes.new("ShaderNodeNormalMap")
    node.location = (-STEP, tree.nodes["Teamwork normals"].location.y)
    tree.links.new(tree.nodes["Teamwork normals"].outputs["Color"], node.inputs["Color"])
    tree.links.new(node.outputs["Normal"], shader.inputs["Normal"])


def _displacement(tree: bpy.types.NodeTree, height_metres: float) -> bpy.types.Node:
    node = tree.nodes.new("ShaderNodeDisplacement")
    node.location = (-STEP, tree.nodes["Teamwork height"].location.y)
    node.inputs["Midlevel"].default_value = 0.5
    node.inputs["Scale"].default_value = height_metres
    tree.links.new(tree.nodes["Teamwork height"].outputs["Color"], node.inputs["Height"])
    return node


def _bump(tree: bpy.types.NodeTree, shader: bpy.types.Node, height_metres: float) -> None:
    node = tree.nodes.new("ShaderNodeBump")
    node.location = (-STEP, 0)
    node.inputs["Distance"].default_value = height_metres
    tree.links.new(tree.nodes["Teamwork height"].outputs["Color"], node.inputs["Height"])
    tree.links.new(node.outputs["Normal"], shader.inputs["Normal"])


def _displace_truly(material: bpy.types.Material) -> None:
    """Move the mesh itself: the property sits on the material since 4.1, and on its Cycles settings before."""
    owner = material if hasattr(material, "displacement_method") else material.cycles
    owner.displacement_method = "DISPLACEMENT"


def apply_to(thing: bpy.types.Object | None, material: bpy.types.Material) -> bool:
    """Put the material into the object's active slot (a new one if it has none); False if it cannot take any."""
    if thing is None or not hasattr(thing.data, "materials"):
        return False
    if thing.active_material_index < len(thing.material_slots):
        thing.material_slots[thing.active_material_index].material = material
    else:
        thing.data.materials.append(material)
    return True
