# SPDX-License-Identifier: GPL-3.0-or-later
"""Decompositions for the compositor: a node group that puts the parts of an image together again."""

from __future__ import annotations

from collections.abc import Mapping

import bpy

PARTS = ("albedo", "metalness", "diffuseshading", "residual")
GAINS = {"albedo": "Albedo Gain", "diffuseshading": "Shading Gain", "residual": "Residual Gain"}
"""The group's inputs, each a colour that its part is multiplied with."""
OUTPUTS = {"albedo": "Albedo", "diffuseshading": "Shading", "residual": "Residual"}
"""The graded parts, beside the whole."""
STEP = 260.0
WHITE = (1.0, 1.0, 1.0, 1.0)


def recompose_group(name: str, pictures: Mapping[str, bpy.types.Image]) -> bpy.types.NodeTree | None:
    """A compositor node group: albedo * (1 - metalness) * diffuseshading + residual = the image, scene-linear.

    Albedo, shading and residual are graded apart before they meet, by the group's inputs (white changes nothing) or by nodes
    inside, where each part is an image node. Metalness may be missing (then there is none); without the other parts None
    is returned, since nothing could be recomposed.
    """
    if any(part not in pictures for part in PARTS if part != "metalness"):
        return None
    tree = bpy.data.node_groups.new(name, "CompositorNodeTree")
    gains = _gains(tree)
    parts = {part: _image(tree, pictures[part], row) for row, part in enumerate(PARTS) if part in pictures}
    graded = parts | {part: _mix(tree, "MULTIPLY", parts[part], gain, (1, row)) for row, (part, gain) in enumerate(gains.items())}
    _put_out(tree, {"image": _recomposed(tree, graded)} | graded)
    return tree


def _gains(tree: bpy.types.NodeTree) -> dict[str, bpy.types.NodeSocket]:
    """The group's inputs, by part."""
    for title in GAINS.values():
        socket = tree.interface.new_socket(title, in_out="INPUT", socket_type="NodeSocketColor")
        socket.default_value = WHITE
    node = tree.nodes.new("NodeGroupInput")
    node.location = (0, 600)
    return {part: node.outputs[index] for index, part in enumerate(GAINS)}


def _put_out(tree: bpy.types.NodeTree, values: Mapping[str, bpy.types.NodeSocket]) -> None:
    shown = {"image": "Image"} | OUTPUTS
    for title in shown.values():
        tree.interface.new_socket(title, in_out="OUTPUT", socket_type="NodeSocketColor")
    node = tree.nodes.new("NodeGroupOutput")
    node.location = (6 * STEP, 0)
    for index, part in enumerate(shown):
        tree.links.new(values[part], node.inputs[index])


def _image(tree: bpy.types.NodeTree, image: bpy.types.Image, row: int) -> bpy.types.NodeSocket:
    node = tree.nodes.new("CompositorNodeImage")
    node.label, node.location = image.name, (0, 300 - row * 300)
    _put_in(node, image)
    return next(socket for socket in node.outputs if socket.type == "RGBA")


def _put_in(node: bpy.types.Node, image: bpy.types.Image) -> None:
    """Show an image in a node without its file being read, which takes half a second at 4K: Blender looks for the layers of
    an image that a node is given, but not of one that takes another one's place."""
    empty = bpy.data.images.new(image.name, 1, 1)
    node.image = empty
    empty.user_remap(image)
    bpy.data.images.remove(empty)


def _recomposed(tree: bpy.types.NodeTree, parts: Mapping[str, bpy.types.NodeSocket]) -> bpy.types.NodeSocket:
    diffuse = parts["albedo"]
    if "metalness" in parts:
        kept = _mix(tree, "SUBTRACT", WHITE, parts["metalness"], (2, 1))
        diffuse = _mix(tree, "MULTIPLY", diffuse, kept, (3, 0))
    return _mix(tree, "ADD", _mix(tree, "MULTIPLY", diffuse, parts["diffuseshading"], (4, 0)), parts["residual"], (5, 0))


def _mix(tree: bpy.types.NodeTree, operation: str, first, second, place: tuple[int, int]) -> bpy.types.NodeSocket:
    """A colour operation on two values. The compositor lost its own mix node in 5.0; the shaders' works there."""
    shared = hasattr(bpy.types, "ShaderNodeMix") and bpy.app.version >= (5, 0, 0)
    node = tree.nodes.new("ShaderNodeMix" if shared else "CompositorNodeMixRGB")
    node.blend_type = operation
    node.location = (place[0] * STEP, 100 - place[1] * STEP)
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
