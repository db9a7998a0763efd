# SPDX-License-Identifier: GPL-3.0-or-later
"""Datablocks that are remembered while they may go."""

from __future__ import annotations

from dataclasses import dataclass

import bpy


@dataclass(frozen=True)
class Target:
    """An object, or another datablock, that was there when the job was sent. Found again by its id of this session, which
    survives renaming and undo but not the loading of another file, where an object of the same name is another one."""

    name: str
    session_uid: int
    kind: str = "objects"
    slot: int = -1

    @staticmethod
    def of(thing: bpy.types.Object | None, slot: int = -1) -> Target | None:
        """What to remember of an object, and which of its material slots is meant: the active one of now, or a given one."""
        if thing is None:
            return None
        return Target(thing.name, thing.session_uid, slot=thing.active_material_index if slot < 0 else slot)

    @staticmethod
    def of_datablock(thing: bpy.types.ID, kind: str) -> Target:
        """What to remember of a datablock of a collection, such as "images"."""
        return Target(thing.name, thing.session_uid, kind)

    def find(self) -> bpy.types.ID | None:
        """The datablock, if it is still there."""
        return next((each for each in getattr(bpy.data, self.kind) if each.session_uid == self.session_uid), None)
