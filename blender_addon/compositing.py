# SPDX-License-Identifier: GPL-3.0-or-later
"""Decompositions for the compositor: a node group that puts the parts of an image together again."""

from __future__ import annotations

from collections.abc import Mapping

import bpy

PARTS = ("albedo", "metalness", "diffuseshading", "residual")
STEP = 260.0


def recompose_group(name: str, images: Mapping[str, bpy.types.Image]) -> bpy.types.NodeTree | None:
    """A compositor node group: albedo * (1 - metalness) * diffuseshading + residual = the image, scene-linear.

    Each part is an image node inside, so that albedo and shading can be graded apart before they meet. Metalness may be
    missing (then there is none); without the other parts None is returned, since nothing could be recomposed.
    """
    if any(part not in images for part in PARTS if part != "metalness"):
        return None
    tree = bpy.data.node_groups.new(name, "CompositorNodeTree")
    tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    parts = {part: _image(tree, images[part], row) for row, part in enumerate(PARTS) if part in images}
    total = _recomposed(tree, parts)
    output = tree.nodes.new("NodeGroupOutput")
    output.location = (5 * STEP, 0)
    tree.links.new(total, output.inputs[0])
    return tree


def _image(tree: bpy.types.NodeTree, image: bpy.types.Image, row: int) -> bpy.types.NodeSocket:
    node = tree.nodes.new("CompositorNodeImage")
    node.image, node.label = image, image.name
    node.location = (0, 300 - row * 300)
    return next(socket for socket in node.outputs if socket.type == "RGBA")


def _recomposed(tree: bpy.types.NodeTree, parts: Mapping[str, bpy.types.NodeSocket]) -> bpy.types.NodeSocket:
    diffuse = parts["albedo"]
    if "metalness" in parts:
        kept = _mix(tree, "SUBTRACT", (1.0, 1.0, 1.0, 1.0), parts["metalness"], 1)
        diffuse = _mix(tree, "MULTIPLY", diffuse, kept, 2)
    return _mix(tree, "ADD", _mix(tree, "MULTIPLY", diffuse, parts["diffuseshading"], 3), parts["residual"], 4)


def _mix(tree: bpy.types.NodeTree, operation: str, first, second, column: int) -> bpy.types.NodeSocket:
    """A colour operation on two values. The compositor lost its own mix node in 5.0; the shaders' works there."""
    shared = hasattr(bpy.types, "ShaderNodeMix") and bpy.app.version >= (5, 0, 0)
    node = tree.nodes.new("ShaderNodeMix" if shared else "CompositorNodeMixRGB")
    node.blend_type = operation
    node.location = (column * STEP, 100)
    if shared:
        node.data_type = "RGBA"
    factor, one, two, result = _mix_sockets(node)
    factor.default_value = 1.0
    for socket, value in ((one, first), (two, second)):
        if isinstance(value, tuple):
            socket.default_value = value
        else:
            tree.links.new(value, socket)
    return result


def _mix_sockets(node: bpy.types.Node) -> tuple:
    """Factor, the two colours and the result; the shaders' node has the same names for every data type."""
    factor = next(socket for socket in node.inputs if socket.type == "VALUE" and socket.enabled)
    one, two = (socket for socket in node.inputs if socket.type == "RGBA")
    return factor, one, two, next(socket for socket in node.outputs if socket.type == "RGBA")
