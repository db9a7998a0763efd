# SPDX-License-Identifier: GPL-3.0-or-later
"""Materials made for the same place from different seeds: one is chosen, the others stay beside it until they are removed."""

from __future__ import annotations

import bpy

from . import materials
from .landing import PREFIX

GROUP = PREFIX + "group"


def siblings(material: bpy.types.Material | None) -> list[bpy.types.Material]:
    """All candidates for the place of a material, itself among them, by seed; empty for one that has no others."""
    group = material.get(GROUP) if material is not None else None
    if not group:
        return []
    found = [each for each in bpy.data.materials if each.get(GROUP) == group and each.library is None]
    return sorted(found, key=lambda each: (each.get(PREFIX + "seed", 0), each.name)) if len(found) > 1 else []


def choose(material: bpy.types.Material, thing: bpy.types.Object | None = None) -> str:
    """Put a candidate wherever one of the others is now; if they are nowhere, on the object. The others are kept. Gives a
    line about it."""
    for other in siblings(material):
        other.use_fake_user = True
    used = [other for other in siblings(material) if other != material and other.users > 1]
    for other in used:
        other.user_remap(material)
        other.use_fake_user = material.use_fake_user = True  # remapping takes these along
    if used or material.users > 1:
        return f"{material.name} has taken the place of the other candidates"
    if materials.apply_to(thing, material):
        return f"Put {material.name} on {thing.name}"
    return f"{material.name} is on no object yet"


def keep_only(material: bpy.types.Material) -> int:
    """Remove all other candidates, with those of their maps that nothing else uses; gives their number."""
    others = [each for each in siblings(material) if each != material]
    for each in others:
        each.user_remap(material)
        _remove(each)
    return len(others)


def _remove(material: bpy.types.Material) -> None:
    maps, group = materials.maps_of(material).values(), materials.group_of(material)
    bpy.data.materials.remove(material)
    if group is not None and group.users == 0:
        bpy.data.node_groups.remove(group)
    for image in [image for image in maps if image.users == 0 and PREFIX + "job" in image]:
        bpy.data.images.remove(image)


def shown(context: bpy.types.Context) -> bpy.types.Material | None:
    """The material whose candidates a panel shows: that of the active object, else the newest that has some."""
    active = getattr(context.object, "active_material", None)
    if siblings(active):
        return active
    grouped = [each for each in bpy.data.materials if each.get(GROUP)]
    newest = max(grouped, key=lambda each: str(each.get(PREFIX + "time", "")), default=None)
    return newest if siblings(newest) else None
