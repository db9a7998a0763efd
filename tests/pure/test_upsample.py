# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects joint upsampling and smoothing: against slow loops, on maps whose answer is known, and at every odd size."""

import numpy as np
import pytest
from PIL import Image

from engine_server import upsample as up

RNG = np.random.default_rng(7)


def _random(*shape):
    return RNG.random(shape, dtype=np.float32)


@pytest.mark.parametrize("radius", [0, 1, 3, 50])
def test_box_mean_against_a_loop(radius):
    values = _random(9, 7, 2)
    expected = np.empty_like(values)
    for i in range(9):
        for j in range(7):
            window = values[max(i - radius, 0) : i + radius + 1, max(j - radius, 0) : j + radius + 1]
            expected[i, j] = window.mean(axis=(0, 1))
    np.testing.assert_allclose(up.box_mean(values, radius), expected, atol=1e-6)


def test_box_mean_keeps_a_constant_on_a_long_picture():
    values = np.full((2, 200_000, 1), 0.1, np.float32)
    np.testing.assert_allclose(up.box_mean(values, 3), 0.1, rtol=1e-6)


@pytest.mark.parametrize("size", [(12, 20), (13, 7), (5, 4)])
def test_bilinear_against_pillow(size):
    values = _random(5, 4, 1)
    expected = Image.fromarray(values[..., 0]).resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_allclose(up.resize_bilinear(values, *size)[..., 0], np.asarray(expected), atol=1e-5)


@pytest.mark.parametrize("size", [(4, 5), (3, 7), (1, 1), (12, 15)])
def test_area_reduction_against_pillow_and_in_its_mean(size):
    values = _random(12, 15, 1)
    found = up.reduce_area(values, *size)
    # Pillow's box takes a pixel wholly or not at all, so it agrees only where no pixel is split.
    if 12 % size[0] == 0 and 15 % size[1] == 0:
        expected = Image.fromarray(values[..., 0]).resize(size[::-1], Image.Resampling.BOX)
        np.testing.assert_allclose(found[..., 0], np.asarray(expected), atol=1e-6)
    assert found.mean() == pytest.approx(values.mean(), rel=1e-5)


@pytest.mark.parametrize("size", [(12, 15), (6, 5), (2, 3), (5, 7)])
def test_area_reduction_of_bytes_is_that_of_their_numbers(size):
    values = RNG.integers(0, 256, (12, 15, 2), np.uint8)
    np.testing.assert_allclose(up.reduce_area(values, *size), up.reduce_area(values.astype(np.float32), *size), rtol=1e-5)


def test_the_linear_model_against_least_squares():
    """In each window: ridge regression of the values on the guide."""
    guide, values, epsilon, radius = _random(8, 9, 3), _random(8, 9, 2), 0.01, 2
    slopes, offsets = up.linear_model(guide, values, radius, epsilon)
    for i, j in ((0, 0), (4, 5), (7, 2)):
        window = (slice(max(i - radius, 0), i + radius + 1), slice(max(j - radius, 0), j + radius + 1))
        g, v = guide[window].reshape(-1, 3).astype(float), values[window].reshape(-1, 2).astype(float)
        centred = g - g.mean(0)
        expected = np.linalg.solve(
            centred.T @ centred / len(g) + epsilon * np.eye(3), centred.T @ (v - v.mean(0)) / len(g)
        )
        np.testing.assert_allclose(slopes[i, j], expected, atol=1e-3)
        np.testing.assert_allclose(offsets[i, j], v.mean(0) - g.mean(0) @ expected, atol=1e-3)


def test_a_constant_guide_gives_the_plain_enlargement():
    values = _random(6, 5, 3)
    found = up.upsample(values, np.full((17, 20, 3), 0.3, np.float32))
    np.testing.assert_allclose(found, up.resize_bilinear(values, 17, 20), atol=1e-5)


def test_a_constant_map_stays_constant():
    guide = _random(21, 18, 3)
    np.testing.assert_allclose(up.upsample(np.full((7, 6), 0.4), guide), 0.4, atol=1e-5)
    np.testing.assert_allclose(up.smooth(np.full((21, 18), 0.4), guide), 0.4, atol=1e-5)


def test_a_map_linear_in_the_guide_comes_back_in_full():
    guide = _random(40, 32, 3)
    truth = guide @ np.float32([[0.5, 0.1], [-0.2, 0.0], [0.1, 0.7]]) + np.float32([0.2, -0.1])
    found = up.upsample(up.reduce_area(truth, 20, 16), guide, epsilon=1e-8)
    np.testing.assert_allclose(found, truth, atol=1e-3)
    np.testing.assert_allclose(up.smooth(truth, guide, epsilon=1e-8), truth, atol=1e-3)


def test_many_maps_along_one_guide_are_each_as_by_itself():
    guide, maps = _random(23, 31, 3), [_random(9, 11, count) for count in (3, 1, 2)]
    enlarger = up.Enlarger(guide, (9, 11))
    for values in maps:
        np.testing.assert_array_equal(enlarger.enlarged(values), up.upsample(values, guide))


def _disc(side):
    i, j = np.mgrid[0:side, 0:side] + 0.5
    return (np.hypot(i / side - 0.5, j / side - 0.5) < 0.3).astype(np.float32)[..., None]


def test_an_edge_is_sharper_than_without_the_guide():
    truth = _disc(128)
    guide = truth * np.float32([0.6, 0.3, 0.2]) + np.float32(0.1)
    small = up.reduce_area(truth * 0.8 + 0.1, 32, 32)
    guided, plain = (
        np.abs(x - (truth * 0.8 + 0.1)).mean() for x in (up.upsample(small, guide), up.resize_bilinear(small, 128, 128))
    )
    assert guided < plain / 3


def test_smoothing_removes_noise_and_keeps_the_edge():
    truth = _disc(64)
    noisy = truth + 0.1 * RNG.standard_normal(truth.shape).astype(np.float32)
    found = up.smooth(noisy, truth, radius=4, epsilon=1e-4)
    blurred = up.box_mean(noisy, 4)
    error, noise, blur = (np.sqrt(np.mean((x - truth) ** 2)) for x in (found, noisy, blurred))
    assert error < noise / 4 and error < blur / 4


def test_the_fast_form_of_smoothing_is_close_to_the_full_one():
    truth = _disc(96)
    noisy = truth + 0.1 * RNG.standard_normal(truth.shape).astype(np.float32)
    full, fast = (up.smooth(noisy, truth, radius=8, epsilon=1e-3, reduction=reduction) for reduction in (1, 4))
    assert np.sqrt(np.mean((full - truth) ** 2)) < 0.02
    assert np.sqrt(np.mean((fast - truth) ** 2)) < 0.02


def test_the_same_size_changes_nothing_in_upsampling():
    values = _random(9, 8, 3)
    np.testing.assert_allclose(up.upsample(values, _random(9, 8, 3)), values, atol=1e-5)


@pytest.mark.parametrize("small, large", [((1, 1), (1, 1)), ((1, 1), (5, 3)), ((1, 4), (1, 9)), ((3, 1), (8, 2))])
def test_tiny_pictures(small, large):
    found = up.upsample(_random(*small), _random(*large, 3))
    assert found.shape == (*large, 1) and found.dtype == np.float32 and np.isfinite(found).all()


def test_a_large_offset_costs_no_precision():
    """Depth in metres far away: the covariance must not drown in the square of the mean."""
    guide = _random(24, 24, 1)
    found = up.smooth(guide * 2.0 + 1000.0, guide + 500.0, epsilon=1e-6)
    np.testing.assert_allclose(found, guide * 2.0 + 1000.0, atol=0.02)


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="4 x 3 pixels, the map 5 x 3"):
        up.smooth(_random(3, 5), _random(3, 4))
    with pytest.raises(ValueError, match="4 x 3 pixels; expected at least the map's 5 x 3"):
        up.upsample(_random(3, 5), _random(3, 4))
    with pytest.raises(ValueError, match="expected at least the map's 4 x 9"):
        up.Enlarger(_random(8, 9, 3), (9, 4))
    with pytest.raises(ValueError, match="not empty"):
        up.upsample(_random(0, 5), _random(3, 4))
