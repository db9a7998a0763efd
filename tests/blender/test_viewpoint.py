# SPDX-License-Identifier: GPL-3.0-or-later
"""What a 3D viewport shows, rendered to channels as a camera would."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Euler, Matrix, Vector

from blender_addon import passes, viewpoint
from tests.blender.conftest import add, looking_down, plane, principled, snapshot

SIDES = [1, 1]
"""Of the viewport, in pixels."""
SHAPES = ((32, 24), (24, 40))


def viewport(perspective: str = "PERSP", lens: float = 50.0) -> bpy.types.Area:
    """The 3D viewport of Blender's own first window, looking at the middle from aside."""
    windows = bpy.context.window_manager.windows
    area = next(area for window in windows for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(each for each in area.regions if each.type == "WINDOW")
    SIDES[:] = [region.width, region.height]
    space = area.spaces.active
    space.lens, space.region_3d.view_perspective = lens, perspective
    space.region_3d.view_location, space.region_3d.view_distance = (0.5, 0.0, 0.0), 6.0
    space.region_3d.view_rotation = Euler((0.6, 0.1, 0.4)).to_quaternion()
    return area


@pytest.fixture
def lit(scene):
    """A red plane and a sun, without a camera."""
    plane(principled("Red", Base_Color=(0.8, 0.1, 0.05, 1.0)), size=3.0)
    add(scene, "Sun", bpy.data.lights.new("Sun", "SUN"))
    return scene


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("perspective", ["PERSP", "ORTHO"])
@pytest.mark.parametrize("lens", [35.0, 80.0])
def test_the_camera_sees_what_the_viewport_shows_and_no_more_than_need_be(lit, perspective, lens, shape):
    area = viewport(perspective, lens)
    view, middle = viewpoint.shown(area), area.spaces.active.region_3d.view_location
    lit.render.resolution_x, lit.render.resolution_y = shape
    distance = (view.matrix.translation - middle).length
    assert distance == pytest.approx(6.0) and view.half[0] / view.half[1] == pytest.approx(SIDES[0] / SIDES[1])
    far = 1.0 if perspective == "ORTHO" else distance
    with viewpoint.camera_of(view, shape[0] / shape[1]) as camera:
        places = []
        for side in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
            corner = view.matrix @ Vector((side[0] * view.half[0] * far, side[1] * view.half[1] * far, -distance))
            places.append(tuple(world_to_camera_view(lit, camera, corner))[:2])
    assert places[0] == pytest.approx((0.5, 0.5), abs=1e-4), "the middle is the middle"
    across, down = places[1][0], places[2][1]
    assert max(across, down) == pytest.approx(1.0, abs=1e-3) and min(across, down) <= 1.0


def test_a_view_gives_the_channels_of_a_camera_there(lit):
    view = viewpoint.View(Matrix.Translation((0.0, 0.0, 3.0)), (0.36, 0.27), False, (0.1, 100.0))
    before = snapshot(lit)
    made = passes.render_channels(lit, samples=1, view=view)
    assert snapshot(lit) == before and "Teamwork View" not in {*bpy.data.objects.keys(), *bpy.data.cameras.keys()}
    camera = looking_down(lit)
    camera.data.angle = 2 * np.arctan(0.36)
    bpy.data.objects.remove(bpy.data.objects["Sun.001"])
    expected = passes.render_channels(lit, samples=1)
    for name in ("albedo", "normals", "depth"):
        assert np.allclose(made[name].data, expected[name].data, atol=1e-3), name


def test_without_perspective_what_lies_behind_is_seen_too(lit):
    """As in the viewport: the red plane, 2 m behind where the view looks from, hides the green one, 1 m before that."""
    view = viewpoint.View(Matrix.Translation((0.0, 0.0, -2.0)), (0.5, 0.5), True, (0.1, 100.0))
    green = plane(principled("Green", Base_Color=(0.1, 0.8, 0.05, 1.0)), size=3.0)
    green.location.z = -3.0
    made = passes.render_channels(lit, samples=1, view=view)
    assert np.allclose(made["albedo"].data[12, 16], (0.8, 0.1, 0.05), atol=0.01)
    assert np.isfinite(made["depth"].data).all() and np.ptp(made["depth"].data) < 1e-3


def test_a_viewport_that_looks_through_a_camera_is_that_camera(lit):
    area = viewport()
    camera, space = looking_down(lit), area.spaces.active
    space.region_3d.view_perspective = "CAMERA"
    assert viewpoint.shown(area) == camera and viewpoint.shown(None) is None
    space.use_local_camera = True
    other = space.camera = add(lit, "Other", bpy.data.cameras.new("Other"), (0.0, 0.0, 50.0))
    assert viewpoint.shown(area) == other, "the viewport has one of its own"
    before = snapshot(lit)
    far = passes.render_channels(lit, samples=1, view=other)["depth"].data
    assert far[12, 16, 0] == pytest.approx(50.0, abs=0.01) and snapshot(lit) == before and lit.camera == camera
    space.camera = bpy.data.objects["Sun"]
    with pytest.raises(passes.PassError, match="Sun, through which the view looks, is no camera"):
        passes.render_channels(lit, samples=1, view=viewpoint.shown(area))


def test_a_viewport_with_a_camera_of_its_own_changes_no_render(lit):
    area, window = viewport(), bpy.context.window_manager.windows[0]
    space, camera = area.spaces.active, looking_down(lit)
    own = add(lit, "Own", bpy.data.cameras.new("Own"), (0.0, 0.0, 50.0))
    space.use_local_camera, space.camera = True, own
    for view, distance in ((None, 3.0), (own, 50.0)):
        with bpy.context.temp_override(window=window, area=area):
            depth = passes.render_channels(lit, samples=1, view=view)["depth"].data
        assert depth[12, 16, 0] == pytest.approx(distance, abs=0.01)
        assert space.use_local_camera and space.camera == own and lit.camera == camera


def test_without_a_camera_the_viewport_is_rendered(lit):
    area = viewport()
    view = viewpoint.shown(area)
    made = passes.render_channels(lit, samples=1, view=view)
    assert made["albedo"].data.shape == (24, 32, 3)
    assert np.allclose(made["albedo"].data[12, 16], (0.8, 0.1, 0.05), atol=0.01), "the middle shows the plane"
