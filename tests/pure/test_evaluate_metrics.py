# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the figures that model cards quote: each measure against a slow loop of its equation."""

import math

import numpy as np
import pytest

from engine_server.evaluate import metrics


def _pair(rows=7, columns=5):
    rng = np.random.default_rng(3)
    return rng.random((2, rows, columns, 3), dtype=np.float32)


def test_rmse_and_psnr_against_a_loop():
    predicted, true = _pair()
    squares = [(float(a) - float(b)) ** 2 for a, b in zip(predicted.ravel(), true.ravel(), strict=True)]
    expected = sum(squares) / len(squares)
    assert metrics.rmse(predicted, true) == pytest.approx(math.sqrt(expected), rel=1e-5)
    assert metrics.psnr(predicted, true) == pytest.approx(10 * math.log10(1 / expected), rel=1e-5)
    assert metrics.psnr(true, true) == 100.0


def test_pooled_rmse_is_that_of_all_values_together():
    pool = metrics.ErrorPool()
    small, large = _pair(2, 2), _pair(9, 8)
    own = [pool.add(*pair) for pair in (small, large)]
    together = np.concatenate([(a - b).ravel() for a, b in (small, large)])
    assert pool.rmse == pytest.approx(float(np.sqrt(np.mean(together**2))), rel=1e-5)
    assert own == pool.per_sample and own[0] == pytest.approx(metrics.rmse(*small))


def test_angles_against_a_loop():
    predicted, true = _pair()
    degrees = metrics.angles(predicted, true)
    for i in range(degrees.shape[0]):
        for j in range(degrees.shape[1]):
            a, b = (2.0 * x[i, j].astype(float) - 1.0 for x in (predicted, true))
            cosine = sum(a * b) / math.sqrt(sum(a * a) * sum(b * b))
            assert degrees[i, j] == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-3)


def test_small_angles_are_told_apart():
    """arccos in float32 gives 0 or 0.028 degrees here."""
    tilt = math.radians(0.005)
    true = np.array([[[0.5, 0.5, 1.0]]])
    tilted = np.array([[[0.5 + 0.5 * math.sin(tilt), 0.5, 0.5 + 0.5 * math.cos(tilt)]]])
    assert metrics.angles(tilted, true)[0, 0] == pytest.approx(0.005, rel=0.02)
    assert metrics.angles(true, true)[0, 0] == 0.0
    assert metrics.angles(1.0 - true, true)[0, 0] == pytest.approx(180.0)


def test_angle_pool_against_all_angles_at_once():
    pool, rng = metrics.AnglePool(), np.random.default_rng(5)
    parts = [rng.gamma(2.0, 6.0, size=(size, 13)) for size in (4, 31)]
    for part in parts:
        pool.add(part)
    everything = np.concatenate([part.ravel() for part in parts])
    assert pool.mean == pytest.approx(everything.mean())
    assert pool.median == pytest.approx(np.median(everything), abs=0.011)
    assert pool.share_good == pytest.approx(np.mean(everything < 11.25))


def test_angle_pool_takes_the_whole_circle():
    pool = metrics.AnglePool()
    pool.add(np.array([[0.0, 180.0, 180.0]]))
    assert pool.median == pytest.approx(180.0, abs=0.01)


def test_white_point_undoes_a_tint():
    _, true = _pair()
    tinted = true * np.array([0.5, 0.8, 1.1], np.float32)
    np.testing.assert_allclose(metrics.white_point(tinted, true), [2.0, 1.25, 1 / 1.1], rtol=1e-5)
    assert metrics.rmse(metrics.with_white_point(tinted, true), true) < 1e-6


def test_white_point_against_its_sums():
    predicted, true = _pair()
    for channel in range(3):
        t, p = (x[..., channel].ravel().tolist() for x in (true, predicted))
        products, squares = sum(a * b for a, b in zip(t, p, strict=True)), sum(a * a for a in t)
        assert metrics.white_point(predicted, true)[channel] == pytest.approx(squares / products, rel=1e-5)


def test_white_point_of_black_is_one():
    black = np.zeros((4, 4, 3), np.float32)
    np.testing.assert_array_equal(metrics.white_point(black, black + 0.5), 1.0)
    np.testing.assert_array_equal(metrics.white_point(black + 0.5, black), 1.0)


def _slow_ssim(a, b):
    """Wang et al. 2004: 11 x 11 Gaussian window of sigma 1.5 around every pixel, mirrored borders."""
    a, b = (np.pad(p, ((5, 5), (5, 5), (0, 0)), "reflect") for p in (a, b))
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for channel in range(3):
        for i in range(a.shape[0] - 10):
            for j in range(a.shape[1] - 10):
                x, y = (p[i : i + 11, j : j + 11, channel].astype(float) for p in (a, b))
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy, vxy = (
                    (window * p).sum() - q for p, q in ((x * x, mx * mx), (y * y, my * my), (x * y, mx * my))
                )
                values.append((2 * mx * my + 1e-4) * (2 * vxy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    return float(np.mean(values))


def test_ssim_against_its_equation():
    true = _pair(24, 20)[1]
    predicted = np.clip(true * 0.8 + 0.05, 0.0, 1.0)
    assert metrics.ssim(predicted, true) == pytest.approx(_slow_ssim(predicted, true), abs=1e-5)
    assert metrics.ssim(true, true) == pytest.approx(1.0, abs=1e-5)


def test_ssim_of_a_picture_below_its_window_is_not_made_up():
    assert metrics.ssim(*_pair(10, 40)) is None
