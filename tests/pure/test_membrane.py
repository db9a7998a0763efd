# SPDX-License-Identifier: GPL-3.0-or-later
"""Holes filled from their rims against a dense solution, patches without a rim, and where to look at a hole."""

from __future__ import annotations

import numpy as np
import pytest

from engine_server.closeup import close_up
from engine_server.membrane import filled, patched, relaxed


def dense(values: np.ndarray, hole: np.ndarray, periodic: bool) -> np.ndarray:
    """Laplace's equation in the hole, pixel by pixel, solved as one matrix."""
    height, width = hole.shape
    places = {tuple(p): i for i, p in enumerate(np.argwhere(hole))}
    matrix, right = np.zeros((len(places),) * 2), np.zeros((len(places), values.shape[-1]))
    for (y, x), i in places.items():
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            near = (y + dy, x + dx)
            if periodic:
                near = near[0] % height, near[1] % width
            elif not (0 <= near[0] < height and 0 <= near[1] < width):
                continue
            matrix[i, i] += 1
            if near in places:
                matrix[i, places[near]] -= 1
            else:
                right[i] += values[near]
    made = values.astype(np.float64).copy()
    made[hole] = np.linalg.solve(matrix, right)
    return made


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(9, 14), (16, 7)])
def test_a_hole_is_filled_as_the_equation_says(shape, periodic):
    random = np.random.default_rng(0)
    values = random.random((*shape, 3), np.float32)
    hole = random.random(shape) < 0.3
    hole[2:7, 3:6] = hole[0, :5] = hole[-3:, -2:] = True
    assert np.abs(filled(values, hole, periodic) - dense(values, hole, periodic)).max() < 2e-4


def test_a_large_hole_in_a_plane_is_the_plane():
    y, x = np.mgrid[:90, :130].astype(np.float32)
    plane = (0.3 + x / 200 - y / 150)[..., None]
    hole = (y - 45) ** 2 + (x - 60) ** 2 < 40**2
    spoiled = np.where(hole[..., None], np.nan, plane)
    assert np.abs(filled(spoiled, hole) - plane).max() < 5e-3


def test_nothing_known_and_nothing_missing():
    picture = np.random.default_rng(0).random((5, 6, 2), np.float32)
    assert np.array_equal(filled(picture, np.zeros((5, 6), bool)), picture)
    assert not filled(picture, np.ones((5, 6), bool)).any()
    assert np.array_equal(patched(picture, 1 - picture, np.ones((5, 6), bool)), 1 - picture)


def test_a_patch_of_another_brightness_has_no_rim():
    random = np.random.default_rng(1)
    picture = random.random((40, 50, 3), np.float32) * 0.1 + 0.5
    hole = np.zeros((40, 50), bool)
    hole[10:30, 15:40] = True
    made = patched(picture, picture + np.float32([0.3, -0.2, 0.1]), hole)
    assert np.array_equal(made[~hole], picture[~hole])
    assert np.abs(made - picture).max() < 1e-3, "but for the brightness it was the same"


# ---- close-ups -------------------------------------------------------------------------------------------------------


def hole_at(shape, *spans) -> np.ndarray:
    made = np.zeros(shape, bool)
    for rows, columns in spans:
        made[slice(*rows), slice(*columns)] = True
    return made


def test_a_small_hole_is_seen_closely():
    view = close_up(hole_at((200, 300), ((90, 100), (280, 290))), 64)
    assert (view.height, view.width) == (64, 64) and view.left == 300 - 64 and 62 <= view.top <= 64 and not view.whole
    view = close_up(hole_at((200, 300), ((50, 120), (0, 5))), 64)
    assert (view.height, view.width, view.left) == (140, 140, 0)
    assert close_up(hole_at((30, 20), ((0, 2), (0, 2))), 64).whole


def test_what_is_cut_can_be_put_back_at_every_size():
    random = np.random.default_rng(0)
    hole = hole_at((48, 40), ((0, 4), (37, 40)), ((45, 48), (0, 2)))
    for periodic in (False, True):
        view = close_up(hole, 16, periodic)
        for scale in (1, 2):
            picture = random.random((48 * scale, 40 * scale, 3), np.float32)
            part = view.cut(picture)
            assert np.array_equal(view.put_back(picture, part), picture)
            changed = view.put_back(picture, part + 1) - picture
            assert np.isclose(changed, 0).sum() == picture.size - part.size


def test_a_hole_over_the_border_of_a_tile_lies_in_the_middle():
    hole = hole_at((64, 64), ((0, 4), (60, 64)), ((61, 64), (0, 3)))
    view = close_up(hole, 24, periodic=True)
    part = view.cut(hole[..., None].astype(np.float32))[..., 0]
    assert part.sum() == hole.sum() and part.shape == (24, 24)
    assert not (part[0].any() or part[-1].any() or part[:, 0].any() or part[:, -1].any())
    assert close_up(hole_at((64, 64), ((0, 64), (10, 12))), 16, periodic=True).whole


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [((5, 12), (8, 20)), ((0, 7), (8, 20)), ((27, 30), (0, 9)), ((0, 30), (35, 40))])
def test_only_the_hole_and_its_rim_are_worked_on(periodic, rows, columns):
    random = np.random.default_rng(0)
    hole = np.zeros((30, 40), bool)
    hole[slice(*rows), slice(*columns)] = random.random((rows[1] - rows[0], columns[1] - columns[0])) < 0.8
    aim = random.random((30, 40, 2)).astype(np.float32)
    found = relaxed(aim, hole, periodic, tie=0.01)
    around = np.pad(found, [(1, 1), (1, 1), (0, 0)], "wrap" if periodic else "edge")
    stretch = 4.01 * found - around[:-2, 1:-1] - around[2:, 1:-1] - around[1:-1, :-2] - around[1:-1, 2:]
    assert not found[~hole].any() and np.allclose(stretch[hole], aim[hole], atol=1e-3)
