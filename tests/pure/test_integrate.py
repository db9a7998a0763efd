# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects height from normals: known surfaces come back, in units of the image's width, with the right side up."""

import numpy as np
import pytest

from engine_server import integrate


def _grid(rows, columns):
    """x to the right and y up, both in units of the image's width, at pixel centres."""
    i, j = np.mgrid[0:rows, 0:columns] + 0.5
    return j / columns, -i / columns


def _bump(rows, columns):
    """A Gaussian bump off centre on a slope, and its exact OpenGL normals."""
    x, y = _grid(rows, columns)
    bump = 0.1 * np.exp(-((x - 0.4) ** 2 + (y + 0.3) ** 2) / (2 * 0.12**2))
    dx, dy = -(x - 0.4) / 0.12**2 * bump + 0.2, -(y + 0.3) / 0.12**2 * bump - 0.1
    normals = np.stack([-dx, -dy, np.ones_like(dx)], axis=-1)
    return bump + 0.2 * x - 0.1 * y, normals / np.linalg.norm(normals, axis=-1, keepdims=True)


@pytest.mark.parametrize("rows, columns", [(128, 128), (96, 160), (101, 67)])
def test_a_bump_on_a_slope_comes_back(rows, columns):
    height, normals = _bump(rows, columns)
    found = integrate.height_from_normals(normals)
    assert found.shape == (rows, columns) and found.dtype == np.float32
    error = np.abs(found - (height - height.mean())).max()
    assert error < 0.002 * np.ptp(height)


def test_the_error_falls_with_the_square_of_the_resolution():
    errors = []
    for side in (32, 64, 128):
        height, normals = _bump(side, side)
        errors.append(np.abs(integrate.height_from_normals(normals) - (height - height.mean())).max())
    assert errors[1] < errors[0] / 3.5 and errors[2] < errors[1] / 3.5


def test_height_does_not_depend_on_resolution():
    ranges = [np.ptp(integrate.height_from_normals(_bump(side, side)[1])) for side in (64, 192)]
    assert ranges[0] == pytest.approx(ranges[1], rel=0.02)


def test_a_periodic_surface_comes_back_and_meets_itself():
    x, y = _grid(48, 64)
    height = 0.02 * np.sin(2 * np.pi * 2 * x + 0.3) * np.cos(2 * np.pi * 4 * y + 1.0)
    normals = integrate.normals_from_height(height, periodic=True)
    found = integrate.height_from_normals(normals, periodic=True)
    # Central differences and the mean of two neighbours damp a wave a little: 1 - (2 pi k / N)^2 / 3 at most.
    assert np.abs(found - height).max() < 0.15 * 0.02
    np.testing.assert_allclose(
        np.roll(found, 5, axis=1), integrate.height_from_normals(np.roll(normals, 5, axis=1), periodic=True), atol=1e-6
    )


def test_the_gradient_of_the_height_agrees_with_the_normals():
    _, normals = _bump(96, 96)
    again = integrate.normals_from_height(integrate.height_from_normals(normals))
    inside = (slice(2, -2), slice(2, -2))
    cosine = np.sum(again[inside] * normals[inside], axis=-1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 1.0


def test_up_is_up():
    """A normal that leans to +Y faces up the picture: the surface falls towards the upper rows."""
    normals = np.broadcast_to(np.array([0.0, 0.6, 0.8]), (8, 8, 3))
    height = integrate.height_from_normals(normals)
    assert height[0, 4] < height[-1, 4]
    assert height[-1, 4] - height[0, 4] == pytest.approx(0.75 * 7 / 8, rel=1e-5)


def test_tilt_can_be_removed():
    normals = np.broadcast_to(np.array([0.6, 0.0, 0.8]), (16, 16, 3))
    assert np.ptp(integrate.height_from_normals(normals)) == pytest.approx(0.75 * 15 / 16, rel=1e-5)
    assert np.ptp(integrate.height_from_normals(normals, remove_tilt=True)) < 1e-6


def test_normals_of_no_surface_give_the_closest_one():
    """Against the dense least-squares solution of the same differences."""
    normals = np.random.default_rng(0).normal(size=(5, 4, 3)) * [0.3, 0.3, 0.0] + [0, 0, 1.0]
    right, down = integrate.gradient_from_normals(normals)
    rows, values = [], []
    for i in range(5):
        for j in range(4):
            for di, dj, slope in ((0, 1, right), (1, 0, down)):
                if i + di < 5 and j + dj < 4:
                    row = np.zeros((5, 4))
                    row[i + di, j + dj], row[i, j] = 1.0, -1.0
                    rows.append(row.ravel())
                    values.append((slope[i, j] + slope[i + di, j + dj]) / 2)
    dense = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0].reshape(5, 4) / 4
    np.testing.assert_allclose(integrate.height_from_normals(normals), dense - dense.mean(), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (2, 2)])
def test_tiny_pictures_and_normals_on_edge(shape):
    normals = np.broadcast_to(np.array([1.0, 0.0, 0.0]), (*shape, 3))
    for periodic in (False, True):
        assert np.isfinite(integrate.height_from_normals(normals, periodic=periodic)).all()
    assert integrate.normals_from_height(np.zeros(shape)).shape == (*shape, 3)


def test_height_in_unit_range_and_back():
    height = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)
    values, scale = integrate.height_to_unit(height)
    assert values.min() == 0.0 and values.max() == 1.0
    again = integrate.height_from_unit(values, scale)
    np.testing.assert_allclose(again - again.mean(), height - height.mean(), atol=1e-6)
    flat, zero = integrate.height_to_unit(np.full((3, 3), 4.0, np.float32))
    assert zero == 0.0 and np.all(flat == 0.5)
