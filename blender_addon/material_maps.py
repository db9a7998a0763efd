# SPDX-License-Identifier: GPL-3.0-or-later
"""The image maps of a material, found from its Principled shader, and copies of the material with other images.

Follows links from the shader's sockets through reroutes, mixes and node groups to the image texture that comes first. Nodes are
known by their type, sockets of Blender's own nodes by their identifiers, those of groups too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import bpy

from .images import ImageError

CHANNELS = {"Base Color": "albedo", "Metallic": "metalness", "Roughness": "roughness"}
OURS = (*CHANNELS.values(), "normals", "height")
SPLITS = ("SEPARATE_COLOR", "SEPRGB", "SEPXYZ")
"""Behind these one image holds several channels."""
MIXES = ("MIX", "MIX_RGB", "CURVE_RGB", "HUE_SAT", "INVERT")
"""Their factor says how much, not what."""

Node = bpy.types.Node


class _Place:
    """A tree, and the group nodes through which it was entered."""

    def __init__(self, tree: bpy.types.NodeTree, within: tuple[tuple[_Place, Node], ...] = ()) -> None:
        self.tree, self.within = tree, within

    def source(self, socket: bpy.types.NodeSocket) -> bpy.types.NodeSocket | None:
        """What a socket is linked to."""
        return next((link.from_socket for link in self.tree.links if link.to_socket == socket), None)


def maps_of(material: bpy.types.Material) -> dict[str, bpy.types.Image]:
    """The images of a material by channel: albedo, metalness, roughness, normals, height, as far as it has them.

    An image that serves several channels stands for the first of them. Raises `ImageError` if it has no shader with images, or
    one of UDIM tiles.
    """
    tree = material.node_tree
    found = _first({**_ours(tree), **_maps(_Place(tree))}) if tree else {}
    tiled = next((image for image in found.values() if image.source == "TILED"), None)
    if tiled is not None:
        raise ImageError(f"{tiled.name} has UDIM tiles, which cannot be made anew together: inpaint the image of one tile instead.")
    if not found:
        sentence = f"The material {material.name} has no image textures in its Principled shader, so there is nothing to inpaint."
        raise ImageError(sentence)
    return found


def _first(found: Mapping[str, bpy.types.Image]) -> dict[str, bpy.types.Image]:
    """Each image once."""
    kept: dict[str, bpy.types.Image] = {}
    for channel in (each for each in OURS if each in found and found[each] not in kept.values()):
        kept[channel] = found[channel]
    return kept


def _ours(tree: bpy.types.NodeTree) -> dict[str, bpy.types.Image]:
    """Maps that `materials` has put into a tree or its groups: one may stand ready without being used."""
    found: dict[str, bpy.types.Image] = {}
    for node in tree.nodes:
        channel = node.name.removeprefix("Teamwork ")
        if node.type == "GROUP" and node.node_tree is not None:
            found |= _ours(node.node_tree)
        elif node.type == "TEX_IMAGE" and channel in OURS:
            _note(found, channel, node.image)
    return found


def _maps(place: _Place) -> dict[str, bpy.types.Image]:
    shader = next((node for node in place.tree.nodes if node.type == "BSDF_PRINCIPLED"), None)
    output = next((node for node in place.tree.nodes if node.type == "OUTPUT_MATERIAL" and node.is_active_output), None)
    found: dict[str, bpy.types.Image] = {}
    for name, channel in CHANNELS.items() if shader else ():
        _note(found, channel, _image(place, shader.inputs[name]))
    for socket in filter(None, (shader and shader.inputs["Normal"], output and output.inputs["Displacement"])):
        for channel, image in _relief(place, socket):
            _note(found, channel, image)
    return found


def _note(found: dict[str, bpy.types.Image], channel: str, image: bpy.types.Image | None) -> None:
    if image is not None and (image.has_data or image.packed_file or 0 not in image.size):  # the size would read the file
        found.setdefault(channel, image)


def _relief(place: _Place, socket: bpy.types.NodeSocket) -> Iterator[tuple[str, bpy.types.Image | None]]:
    """Normal and height maps behind a socket of directions."""
    for here, node in _behind(place, socket):
        if node.type == "NORMAL_MAP":
            yield "normals", _image(here, node.inputs["Color"])
        elif node.type in ("BUMP", "DISPLACEMENT"):
            yield "height", _image(here, node.inputs["Height"])


def _image(place: _Place, socket: bpy.types.NodeSocket) -> bpy.types.Image | None:
    for _, node in _behind(place, socket):
        if node.type in SPLITS:
            return None
        if node.type == "TEX_IMAGE" and node.image is not None:
            return node.image
    return None


def _behind(place: _Place, socket: bpy.types.NodeSocket) -> Iterator[tuple[_Place, Node]]:
    """The nodes before a socket, nearest first along each link; groups are entered and left."""
    seen, todo = set(), [(place, socket)]
    while todo:
        here, socket = todo.pop(0)
        source = here.source(socket)
        if source is None:
            continue
        here, node, inputs = _entered(here, source)
        key = (tuple(group.name for _, group in here.within), here.tree.name, node.name)
        if key in seen:
            continue
        seen.add(key)
        yield here, node
        todo += [(where, each) for where, each in inputs]


def _entered(here: _Place, source: bpy.types.NodeSocket):
    """The node of a source, with the sockets through which it is fed."""
    node = source.node
    if node.type == "GROUP" and node.node_tree is not None:
        inner = _Place(node.node_tree, (*here.within, (here, node)))
        end = next((each for each in inner.tree.nodes if each.type == "GROUP_OUTPUT" and each.is_active_output), None)
        inputs = [each for each in end.inputs if each.identifier == source.identifier] if end else []
        return here, node, [(inner, each) for each in inputs]
    if node.type == "GROUP_INPUT" and here.within:
        outer, group = here.within[-1]
        return here, node, [(outer, each) for each in group.inputs if each.identifier == source.identifier]
    inputs = [each for each in node.inputs if node.type not in MIXES or not each.identifier.startswith("Fac")]
    return here, node, [(here, each) for each in inputs]


def copy_with(material: bpy.types.Material, images: Mapping[bpy.types.Image, bpy.types.Image]) -> bpy.types.Material:
    """A copy of a material in which some images are replaced by others; groups that hold them are copied, too."""
    made = material.copy()
    _replace(made.node_tree, images)
    return made


def _replace(tree: bpy.types.NodeTree, images: Mapping[bpy.types.Image, bpy.types.Image]) -> None:
    for node in tree.nodes:
        if node.type == "TEX_IMAGE" and node.image in images:
            node.image = images[node.image]
        elif node.type == "GROUP" and node.node_tree is not None and _holds(node.node_tree, images):
            node.node_tree = node.node_tree.copy()
            _replace(node.node_tree, images)


def _holds(tree: bpy.types.NodeTree, images: Mapping[bpy.types.Image, bpy.types.Image]) -> bool:
    groups = (node.node_tree for node in tree.nodes if node.type == "GROUP" and node.node_tree is not None)
    return any(n.type == "TEX_IMAGE" and n.image in images for n in tree.nodes) or any(_holds(each, images) for each in groups)
