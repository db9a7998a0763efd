# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of Material from Photo: what it shows, what its button sends, and where the material goes."""

from __future__ import annotations

import bpy
import numpy as np

from blender_addon import images, jobs, material_drawing
from blender_addon.engine import LINK
from tests.blender.operating import (  # noqa: F401 (fixtures)
    addon,
    cube,
    drain_until,
    empty,
    made_by,
    models,
    opened,
    photo,
    sent_by,
)
from tests.blender.recording import context, draw

MAKE = bpy.ops.teamwork


def test_the_material_goes_into_the_slot_that_was_meant_when_it_was_sent(photo, cube, monkeypatch):  # noqa: F811
    for name in ("a", "b", "c"):
        cube.data.materials.append(bpy.data.materials.new(name))
    cube.active_material_index = 1
    sent = sent_by(monkeypatch, filepath=str(photo), apply=True)
    cube.active_material_index = 0
    drain_until(lambda: sent[0].state == jobs.DONE, 120.0)
    assert [slot.name for slot in cube.material_slots] == ["a", "wall", "c"]
    made_by(filepath=str(photo), apply=True, slot=2)
    assert [slot.name for slot in cube.material_slots] == ["a", "wall", "wall.001"]


def panel() -> list:
    """What the panel shows in the 3D viewport."""
    return draw("TEAMWORK_PT_view3d_material", context("VIEW_3D"))


def test_the_panel_tells_what_the_model_can_use(photo, tmp_path):  # noqa: F811
    MAKE.test_engine()
    settings = bpy.context.scene.teamwork
    settings.picture, settings.model = images.load(photo), "few"
    settings.capture = "FLASH"
    settings.given_albedo = bpy.data.images[opened(tmp_path, "paint.png", np.full((16, 24, 3), 128, np.uint8))]
    text = " ".join(panel().of("label"))
    assert "no heed of the flash" in text and "does not look at your Base Color" in text and "Maps You Have (1)" in text
    assert "fov" in panel().of("prop")
    settings.model, settings.capture, settings.given_albedo = "flash", "AMBIENT", None
    text = " ".join(panel().of("label"))
    assert "taken with a flash" in text and "look at" not in text and "fov" not in panel().of("prop")
    settings.model, settings.given_height = "nano", bpy.data.images["paint.png"]
    assert "does not look at" not in " ".join(panel().of("label")), "it sees the normals that are made of a height"


def test_the_button_has_all_settings_and_works_without_a_photo(tmp_path):
    settings = bpy.context.scene.teamwork
    settings.given_roughness = bpy.data.images[opened(tmp_path, "rough.png", np.full((8, 8, 3), 128, np.uint8))]
    settings.seamless, settings.candidates, settings.folder, settings.asset = "MAKE", 4, "//maps", True
    button = panel().of("button")[-1]
    assert (button.seamless, button.candidates, button.folder, button.asset) == ("MAKE", 4, "//maps", True)
    assert button.given_roughness == "rough.png" and button.given_albedo == "" and button.fov == settings.fov


def test_the_panel_shows_candidates_and_slots(photo, cube):  # noqa: F811
    for name in ("a", "b"):
        cube.data.materials.append(bpy.data.materials.new(name))
    MAKE.material_from_image(filepath=str(photo), model="tiny", candidates=2, channels={"albedo"}, apply=True)
    shown = panel()
    assert "active_material_index" in shown.of("prop") and len(shown.of("icon")) == 2
    names = [button.material for button in shown.of("button") if hasattr(button, "material")]
    assert names == ["wall", "wall.001", "wall"]


def test_more_candidates_and_tiles_take_longer(photo, tmp_path):  # noqa: F811
    made_by(filepath=str(photo))
    settings = bpy.context.scene.teamwork
    settings.picture, settings.model = images.load(photo), "tiny"
    monkey = {}

    def note(context, task, outputs, size, inputs, more, times):
        monkey.update(outputs=outputs, size=size, inputs=inputs, more=more, times=times)
        return "line"

    original, material_drawing.expected_seconds = material_drawing.expected_seconds, note
    try:
        settings.seamless, settings.candidates = "MAKE", 3
        settings.given_albedo = bpy.data.images[opened(tmp_path, "paint.png", np.full((16, 24, 3), 128, np.uint8))]
        assert "line" in panel().of("label")
    finally:
        material_drawing.expected_seconds = original
    assert monkey == {
        "outputs": ["height", "metalness", "normals", "roughness"],
        "size": (24, 16),
        "inputs": 2,
        "more": {"seamless": 1},
        "times": 3,
    }
    assert LINK.model("tiny")
