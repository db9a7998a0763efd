# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes of users whose Blender speaks another language: its nodes and datablocks have names in it.

Blender's Python module comes without translations, so that the names are given here as Blender gives them; in a Blender
that has translations, they come from there.
"""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from blender_addon import passes
from tests.blender.conftest import add, looking_down, plane, principled
from tests.blender.operating import addon, empty, models, photo  # noqa: F401 (fixtures)

NAMES = {
    "de_DE": {"BSDF_PRINCIPLED": "Principled BSDF", "OUTPUT_MATERIAL": "Material-Ausgabe", "cube": "Würfel", "scene": "Szene"},
    "ja_JP": {"BSDF_PRINCIPLED": "プリンシプルBSDF", "OUTPUT_MATERIAL": "マテリアル出力", "cube": "立方体", "scene": "シーン"},
}


@pytest.fixture(params=NAMES)
def language(request):
    """Blender in a language, as far as this one knows it; gives the names in it."""
    view = bpy.context.preferences.view
    known = request.param in bpy.app.translations.locales
    if known:
        view.language, view.use_translate_new_dataname, view.use_translate_interface = request.param, True, True
    yield NAMES[request.param]
    if known:
        view.language = "en_US"


def spoken(material: bpy.types.Material, names: dict[str, str]) -> bpy.types.Material:
    """The material with its nodes' names and labels in the language."""
    for node in material.node_tree.nodes:
        node.name = node.label = names.get(node.type, node.name)
    return material


def test_a_scene_in_another_language_gives_the_same_channels(scene, language):
    red = spoken(principled("Rot 赤", Base_Color=(0.8, 0.1, 0.05, 1.0), Roughness=0.3, Metallic=1.0), language)
    plane(red).name = language["cube"]
    looking_down(scene)
    scene.name = language["scene"]
    scene.view_layers[0].name = f"{language['scene']} 1"
    made = passes.render_channels(scene, samples=1)
    middle = {name: made[name].data[12, 16] for name in ("albedo", "roughness", "metalness")}
    assert np.allclose(middle["albedo"], (0.8, 0.1, 0.05), atol=0.01)
    assert middle["roughness"] == pytest.approx(0.3, abs=0.01) and middle["metalness"] == pytest.approx(1.0, abs=0.01)
    assert {node.name for node in red.node_tree.nodes} == {language["BSDF_PRINCIPLED"], language["OUTPUT_MATERIAL"]}


def test_operators_work_on_names_of_another_language(photo, language, tmp_path):  # noqa: F811
    scene, picture = bpy.context.scene, bpy.data.images.load(str(photo))
    picture.name = f"Ziegel {language['cube']}"
    thing = add(scene, language["cube"], bpy.data.meshes.new(language["cube"]))
    bpy.context.view_layer.objects.active = thing
    bpy.ops.teamwork.material_from_image(image=picture.name, model="tiny", apply=True)
    material = thing.active_material
    assert material.name.startswith("Ziegel") and material["teamwork_source"] == picture.name
    fed = {link.to_socket.name for link in material.node_tree.links if link.to_node.type == "BSDF_PRINCIPLED"}
    assert fed == {"Base Color", "Metallic", "Roughness", "Normal"}
    bpy.ops.teamwork.regenerate(job=material["teamwork_job"])
    bpy.ops.teamwork.decompose_image(image=picture.name, model="tiny")
    assert next(group for group in bpy.data.node_groups if "teamwork_job" in group).links
