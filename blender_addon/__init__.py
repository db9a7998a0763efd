# SPDX-License-Identifier: GPL-3.0-or-later
"""Teamwork: neural materials and neural rendering in Blender, computed by a separate engine.

Importing this package needs no Blender, so that the engine and scripts can use `blender_addon.wire`.
"""

from __future__ import annotations


def _parts():
    from . import operators, panels, preferences, properties, render_engine, render_panels, render_properties

    owners = (properties, render_properties, preferences, operators, panels, render_panels)
    classes = tuple(each for owner in owners for each in owner.CLASSES)
    return classes, (properties, render_properties, render_engine, render_panels)


def register() -> None:
    """Add the operators, panels and settings. Starts nothing and opens no connection."""
    import bpy

    classes, modules = _parts()
    for each in classes:
        bpy.utils.register_class(each)
    for module in modules:
        module.register()


def unregister() -> None:
    """End the connection and what was started here, and take everything away again."""
    import bpy

    from . import jobs

    jobs.stop()
    classes, modules = _parts()
    for module in reversed(modules):
        module.unregister()
    for each in reversed(classes):
        bpy.utils.unregister_class(each)
