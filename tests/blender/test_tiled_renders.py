# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders that are larger than Cycles' tiles, as pictures of 4K are: here the tiles are small instead."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from blender_addon import passes
from tests.blender.conftest import looking_down, plane, principled, snapshot
from tests.blender.operating import addon, empty, models  # noqa: F401 (fixtures)
from tests.blender.rendering import ENGINE, passes_of, turn_on, write


@pytest.fixture
def scene():
    """A lit plane below a camera, 64 x 48, of which Cycles takes 16 x 16 at a time."""
    made = bpy.context.scene
    render, made.cycles.samples, made.cycles.use_denoising = made.render, 2, False
    made.cycles.use_auto_tile, made.cycles.tile_size = True, 16
    render.threads_mode, render.threads = "FIXED", 1
    render.resolution_x, render.resolution_y, render.resolution_percentage = 64, 48, 100
    plane(principled("Paint", Base_Color=(0.3, 0.5, 0.7, 1.0)))
    looking_down(made)
    return made


def test_the_channels_are_there(scene):
    before = snapshot(scene)
    made = passes.render_channels(scene, samples=2)
    assert np.allclose(made["depth"].data, 3.0, atol=1e-3) and made["image"].data.min() > 0.0
    assert np.allclose(made["albedo"].data, (0.3, 0.5, 0.7), atol=1e-3)
    assert snapshot(scene) == before


@pytest.mark.parametrize("keeps", [False, True])
def test_the_neural_passes_are_there_in_every_frame_and_view_layer(scene, tmp_path, keeps):
    scene.render.engine, scene.render.use_persistent_data, scene.frame_end = ENGINE, keeps, 2
    scene.teamwork_render.model = "tiny"
    turn_on(scene.view_layers[0], "image")
    turn_on(scene.view_layers.new("Second"), "depth")
    for path in write(scene, tmp_path, animation=True):
        found = passes_of(path)
        assert found["ViewLayer.Neural Image"].std() > 1e-4 and found["Second.Neural Depth"].std() > 1e-4
        assert (found["ViewLayer.Combined"][..., :3] > 0.0).all()
    assert scene.cycles.tile_size == 16


def test_what_no_tile_can_hold_is_one_sentence(scene):
    scene.render.resolution_x, scene.render.resolution_percentage = 16400, 50
    with pytest.raises(passes.PassError, match="at most 8192 pixels a side.*8200 x 24"):
        passes.render_channels(scene, samples=1)
