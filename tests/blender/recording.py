# SPDX-License-Identifier: GPL-3.0-or-later
"""A layout that records what a panel draws. It takes only operators that exist and properties that their owners have."""

from __future__ import annotations

from types import SimpleNamespace

import bpy


class Properties:
    """An operator's properties, as a button has them."""

    def __init__(self, rna) -> None:
        object.__setattr__(self, "bl_rna", rna)

    def __setattr__(self, name: str, value) -> None:
        assert name in self.bl_rna.properties, f"{self.bl_rna.identifier} has no {name}"
        object.__setattr__(self, name, value)


class Layout:
    """Records texts, operators and properties in `drawn`, for itself and all its parts."""

    def __init__(self, drawn: list | None = None, enabled: bool = True) -> None:
        self.drawn, self.enabled = [] if drawn is None else drawn, enabled

    def _part(self, *words, **settings) -> Layout:
        return Layout(self.drawn, self.enabled)

    row = column = box = split = grid_flow = column_flow = _part

    def panel(self, name: str, default_closed: bool = False) -> tuple[Layout, Layout]:
        """A section, open."""
        return Layout(self.drawn), Layout(self.drawn)

    def label(self, text: str = "", icon: str = "NONE", icon_value: int = 0, translate: bool = True) -> None:
        """A text."""
        assert icon in bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items.keys()
        self.drawn.append(("label", text))

    def progress(self, factor: float = 0.0, text: str = "") -> None:
        """A bar."""
        assert 0.0 <= factor <= 1.0
        self.drawn.append(("progress", text))

    def prop(self, owner, name: str, **settings) -> None:
        """A property's field."""
        assert name in owner.bl_rna.properties, f"{owner} has no {name}"
        self.drawn.append(("prop", name))

    def template_ID(self, owner, name: str, **settings) -> None:
        """A datablock's chooser."""
        self.prop(owner, name)

    def template_list(self, kind: str, name: str, owner, items: str, active_owner, active: str, rows: int = 5) -> None:
        """A list of things, one of them active."""
        assert hasattr(bpy.types, kind) and hasattr(owner, items)
        self.prop(active_owner, active)

    def template_icon(self, icon_value: int, scale: float = 1.0) -> None:
        """A picture."""
        self.drawn.append(("icon", icon_value))

    def popover(self, panel: str, **settings) -> None:
        """A panel that opens."""
        assert hasattr(bpy.types, panel)
        self.drawn.append(("popover", panel))

    def icon(self, datablock) -> int:
        """A datablock's icon."""
        return 1

    def operator(self, name: str, text: str = "", icon: str = "NONE", emboss: bool = True, depress: bool = False) -> Properties:
        """A button."""
        module, function = name.split(".")
        rna = getattr(getattr(bpy.ops, module), function).get_rna_type()
        self.drawn.append(("operator", name))
        self.drawn.append(("enabled", (rna.identifier, self.enabled)))
        made = Properties(rna)
        self.drawn.append(("button", made))
        return made

    def of(self, kind: str) -> list:
        """Everything of a kind that was drawn."""
        return [what for each, what in self.drawn if each == kind]


def context(space: str = "VIEW_3D", tree: str = "", image=None) -> SimpleNamespace:
    """What a panel asks of its context."""
    return SimpleNamespace(
        scene=bpy.context.scene,
        object=bpy.context.object,
        preferences=bpy.context.preferences,
        region=SimpleNamespace(width=300),
        space_data=SimpleNamespace(type=space, tree_type=tree, image=image),
    )


def draw(panel: str, where: SimpleNamespace) -> Layout:
    """What a panel draws there; nothing if it does not show."""
    kind, layout = getattr(bpy.types, panel), Layout()
    if kind.poll(where):
        owner = SimpleNamespace(layout=layout)
        for name in dir(kind):
            if name.startswith(("draw_", "_draw")) or name in ("presets", "task", "needs"):
                member = getattr(kind, name)
                setattr(owner, name, member.__get__(owner) if callable(member) and not isinstance(member, type) else member)
        if hasattr(kind, "draw_header_preset"):
            kind.draw_header_preset(owner, where)
        kind.draw(owner, where)
    return layout
