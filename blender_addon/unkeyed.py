# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user has changed of something animated and not keyed, a pose for example: Blender takes the keys' values again
whenever it goes to a frame, and at the end of each render that an operator makes at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import bpy

GONE = (AttributeError, IndexError, KeyError, ReferenceError, TypeError, ValueError)
"""What Blender raises of a path that leads nowhere, or to something that cannot be set."""
LAST = re.compile(r'(?P<owner>.*?)(?:\["(?P<key>(?:[^"\\]|\\.)*)"\]|\.?(?P<name>\w+))')
"""A path to a property: what has it, and its name there, or its key if it is one of the user's own."""


@contextmanager
def kept() -> Iterator[None]:
    """Put back what differs afterwards of all that has keys."""
    before = [(owner, path, value) for owner in _owners() for path in _paths(owner) if (value := _value(owner, path)) is not None]
    try:
        yield
    finally:
        for owner, path, value in before:
            with suppress(*GONE):
                if _value(owner, path) != value:
                    _put(owner, path, value)


def _owners() -> Iterator[bpy.types.ID]:
    """All datablocks with animation, and the node trees that are part of others."""
    collections = (getattr(bpy.data, each.identifier) for each in bpy.data.bl_rna.properties if each.type == "COLLECTION")
    for each in (block for blocks in collections for block in blocks):
        for owner in (each, getattr(each, "node_tree", None)):
            if getattr(owner, "animation_data", None) is not None:
                yield owner


def _paths(owner: bpy.types.ID) -> set[str]:
    data = owner.animation_data
    users = [data, *(strip for track in data.nla_tracks for strip in _strips(track.strips))]
    return {curve.data_path for user in users for curve in _curves(user)}


def _strips(strips) -> Iterator[bpy.types.NlaStrip]:
    """Those within meta strips, too."""
    for strip in strips:
        yield strip
        yield from _strips(strip.strips)


def _curves(user: bpy.types.AnimData | bpy.types.NlaStrip) -> Iterator[bpy.types.FCurve]:
    """The curves of an action for one of its users: since 4.4 those of a slot."""
    action = user.action
    if action is None:
        return
    if not hasattr(user, "action_slot"):
        yield from action.fcurves
    elif user.action_slot is not None:
        bags = (strip.channelbag(user.action_slot) for layer in action.layers for strip in layer.strips if strip.type == "KEYFRAME")
        for bag in filter(None, bags):
            yield from bag.fcurves


def _value(owner: bpy.types.ID, path: str) -> Any:
    """What is there now, as something that stays; None if nothing is."""
    with suppress(*GONE):
        value = owner.path_resolve(path)
        return tuple(value) if hasattr(value, "__len__") and not isinstance(value, (str, set)) else value
    return None


def _put(owner: bpy.types.ID, path: str, value: Any) -> None:
    last = LAST.fullmatch(path)
    holder = owner.path_resolve(last["owner"]) if last["owner"] else owner
    if last["name"]:
        setattr(holder, last["name"], value)
    else:
        holder[bpy.utils.unescape_identifier(last["key"])] = value
        owner.update_tag()  # Blender does not notice by itself
