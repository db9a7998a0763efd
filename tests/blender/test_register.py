# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on comes and goes as a package; `test_extension.py` has the extension that users install."""

from __future__ import annotations

import bpy

import blender_addon

OPERATORS = {
    "cancel",
    "cancel_set_up",
    "choose_candidate",
    "clear_history",
    "connect",
    "copy_key",
    "decompose_image",
    "decompose_preset_add",
    "disconnect",
    "fetch_results",
    "forget_results",
    "inpaint",
    "inpaint_preset_add",
    "keep_candidate",
    "material_from_image",
    "material_preset_add",
    "neural_render",
    "paint_mask",
    "regenerate",
    "render_preset_add",
    "set_up",
    "show_settings",
    "synthesize",
    "synthesize_preset_add",
    "test_engine",
    "unload",
    "use_settings",
}


def operators() -> set[str]:
    """The add-on's operators that can be called."""
    return {name for name in dir(bpy.ops.teamwork) if hasattr(bpy.types, f"TEAMWORK_OT_{name}")}


def test_registers_and_leaves_nothing_twice():
    for _ in range(2):
        assert not operators() and not hasattr(bpy.types.Scene, "teamwork")
        blender_addon.register()
        assert operators() == OPERATORS
        assert bpy.context.scene.teamwork.samples == 4
        blender_addon.unregister()
    assert not operators() and not hasattr(bpy.types.Scene, "teamwork")


def test_registering_starts_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("TEAMWORK_HOME", str(tmp_path / "home"))
    blender_addon.register()
    try:
        from blender_addon.engine import LINK

        assert LINK.session is None and not (tmp_path / "home").exists()
        assert LINK.state() == "Not running"
    finally:
        blender_addon.unregister()


def test_every_operator_and_property_tells_what_it_does():
    blender_addon.register()
    try:
        for name in OPERATORS:
            kind = getattr(bpy.ops.teamwork, name).get_rna_type()
            assert kind.description and not kind.description.endswith(".")
            of_blender = {"rna_type", "remove_name", "remove_active"}  # the base of all presets has them
            assert all(each.description for each in kind.properties if each.identifier not in of_blender), name
    finally:
        blender_addon.unregister()


def test_every_operator_tells_its_faults_in_a_sentence():
    from blender_addon import operators
    from blender_addon.operators.base import spoken

    said = []
    fault = type("Fault", (), {"bl_idname": "x", "bl_label": "Make It", "report": lambda self, kind, text: said.append((kind, text))})
    assert spoken(lambda self, context: 1 // 0)(fault(), None) == {"CANCELLED"}
    assert said[0][0] == {"ERROR"} and said[0][1].startswith("Make It did not work") and "ZeroDivisionError" in said[0][1]
    ours = [each for each in operators.CLASSES if each not in operators.PRESETS]
    assert len(ours) > 10
    for each in ours:
        assert hasattr(each.execute, "__wrapped__"), f"{each.__name__}.execute is not guarded"
