# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a picture add up to it in the space in which Blender multiplies colours, whichever that is."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from PIL import Image

from blender_addon import images, spaces
from blender_addon.colour import TO_REC709
from tests.blender.conftest import compositor, file_format, looking_down, plane, principled
from tests.blender.operating import addon, empty, models  # noqa: F401 (fixtures)
from tests.blender.rendering import ENGINE, passes_of, turn_on, write

WORKING = ["Linear Rec.709", *(TO_REC709 if hasattr(bpy.data, "colorspace") else ())]
"""Before Blender 5.0 there is one."""


@pytest.fixture(params=WORKING)
def working(request, empty) -> str:  # noqa: F811 (a fixture)
    """The file's working space."""
    if request.param != spaces.working():
        bpy.ops.wm.set_working_color_space(working_space=request.param, convert_colors=False)
    return request.param


def small(engine: str) -> bpy.types.Scene:
    """A scene of 24 x 16 pixels, lit in a warm light."""
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 24, 16, 100
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = engine, 2, False
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    plane(principled("Paint", Base_Color=(0.8, 0.1, 0.05, 1.0)), size=2.0)
    looking_down(scene)
    bpy.data.lights["Sun"].color = (1.0, 0.6, 0.2)
    return scene


def test_the_group_of_a_decomposition_makes_the_picture(working, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wall.png")
    bpy.ops.teamwork.decompose_image(filepath=str(tmp_path / "wall.png"), model="tiny")
    scene = small("CYCLES")
    tree, end = compositor(scene)
    node = tree.nodes.new("CompositorNodeGroup")
    node.node_tree = bpy.data.node_groups["wall recomposed"]
    tree.links.new(node.outputs["Image"], end)
    file_format(scene, "OPEN_EXR")
    scene.render.filepath = str(tmp_path / "whole.exr")
    bpy.ops.render.render(write_still=True)
    made, expected = (images.read(images.load(tmp_path / name)) for name in ("whole.exr", "wall.png"))
    assert np.allclose(made, expected, atol=2e-3)


def test_neural_passes_add_up_to_the_render(working, tmp_path):
    scene = small(ENGINE)
    scene.teamwork_render.model = "tiny"
    turn_on(scene.view_layers[0], "albedo", "metalness", "shading", "residual")
    found = {name.rpartition(".")[2]: values[..., :3] for name, values in passes_of(write(scene, tmp_path)[0]).items()}
    lit = found["Neural Albedo"] * (1.0 - found["Neural Metalness"]) * found["Neural Shading"]
    assert np.allclose(lit + found["Neural Residual"], found["Combined"], atol=1e-3)
