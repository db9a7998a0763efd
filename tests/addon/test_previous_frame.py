# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame before, moved to where things are now: known pictures with known motion, and when it must not be used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_addon import motion, previous_frame
from blender_addon.previous_frame import Frame

HEIGHT, WIDTH = 24, 32
PLACE = ("Scene", "ViewLayer")


@pytest.fixture(autouse=True)
def nothing_before():
    """Nothing is left of another test."""
    previous_frame.forget()
    yield
    previous_frame.forget()


def wave(x, y) -> np.ndarray:
    """A smooth picture that is known everywhere, H x W x 3."""
    return np.stack([0.5 + 0.3 * np.sin(0.4 * x + phase) * np.cos(0.3 * y) for phase in (0.0, 1.0, 2.0)], -1).astype(np.float32)


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Column and row of each pixel."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return x, y


def moving(right: float, up: float) -> np.ndarray:
    """Vectors as Cycles gives them for a picture that moves by so many pixels a frame."""
    return np.broadcast_to(np.float32([-right, -up, -right, -up]), (HEIGHT, WIDTH, 4)).copy()


def frame(number: int, made: np.ndarray, vectors: np.ndarray | None = None, **more) -> Frame:
    """A frame with one neural pass, in steady light unless `more` tells otherwise."""
    vectors = moving(0, 0) if vectors is None else vectors
    fields = {"setting": "same", "view": "same", "picture": np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)}
    return Frame(number, vectors=vectors, made={"Neural": made}, **(fields | more))


def steadied(each: Frame, reuse: float = 0.5, **more) -> np.ndarray:
    """The one pass of a frame."""
    return previous_frame.steadied(PLACE, each, reuse, **more)["Neural"]


# ---- motion ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "up"), [(3, 2), (-4, 1), (1.25, -0.5)])
def test_a_picture_is_moved_along_its_vectors(right, up):
    x, y = grid()
    made, vectors = motion.warped(wave(x, y), moving(right, up)), moving(right, up)
    truth, known = wave(x - right, y + up), motion.inside(vectors)
    assert np.abs(made - truth)[known][:-1].max() < (1e-5 if right == int(right) else 0.12)
    assert np.abs(made - truth)[6:-6, 6:-6].max() < 0.02
    assert known.sum() == round(HEIGHT - abs(int(up))) * round(WIDTH - abs(int(right)))


def test_bilinear_is_the_sum_over_four_neighbours():
    random = np.random.default_rng(0)
    picture = random.normal(size=(HEIGHT, WIDTH, 2)).astype(np.float32)
    vectors = random.uniform(-3, 3, (HEIGHT, WIDTH, 4)).astype(np.float32)
    made = motion.warped(picture, vectors)
    for y, x in ((5, 5), (10, 20), (23, 0), (0, 31)):
        column, row = np.clip(x + vectors[y, x, 0], 0, WIDTH - 1), np.clip(y - vectors[y, x, 1], 0, HEIGHT - 1)
        slow = np.zeros(2)
        for r in range(HEIGHT):
            for c in range(WIDTH):
                slow += max(0, 1 - abs(column - c)) * max(0, 1 - abs(row - r)) * picture[r, c]
        assert np.allclose(made[y, x], slow, atol=1e-4)


def test_what_was_hidden_or_outside_was_not_visible():
    """A square moves 6 pixels to the right before a wall that stands."""
    earlier, now = np.zeros((HEIGHT, WIDTH, 4), np.float32), np.zeros((HEIGHT, WIDTH, 4), np.float32)
    earlier[8:16, 4:12] = now[8:16, 10:18] = (-6, 0, -6, 0)
    seen = motion.visible(now, earlier)
    hidden = np.zeros((HEIGHT, WIDTH), bool)
    hidden[8:16, 4:10] = True
    assert np.array_equal(seen, ~hidden)
    assert not motion.visible(moving(5, 0), moving(5, 0))[:, :5].any()


def test_noise_is_like_itself_and_a_lamp_is_not():
    random = np.random.default_rng(0)
    clean = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
    noisy = [clean * random.gamma(8.0, 1 / 8.0, (HEIGHT, WIDTH, 1)) for _ in range(2)]
    assert motion.likeness(*noisy).mean() > 0.8 and motion.likeness(clean, clean).min() == 1.0
    assert motion.likeness(clean, clean * 2.0).max() == 0.0
    dark = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    assert motion.likeness(dark, dark + 1e-5).min() > 0.9


# ---- frames ----------------------------------------------------------------------------------------------------------


def test_flicker_of_a_moving_picture_becomes_less_and_its_content_stays():
    """Noise that is new in each frame, on a picture that moves: three quarters of the frame before halve it at least."""
    random, (x, y) = np.random.default_rng(0), grid()
    errors = []
    for number in range(12):
        truth = wave(x - 2 * number, y + number)
        noisy = (truth + random.normal(0, 0.1, truth.shape)).astype(np.float32)
        made = steadied(frame(number, noisy, moving(2, 1)), 0.75)
        errors.append(np.abs(made - truth)[12:, 24:].mean() if number == 0 else np.abs(made - truth)[: HEIGHT - 12, 24:].mean())
    assert errors[-1] < 0.5 * errors[0]


@pytest.mark.parametrize(
    "change",
    [
        {"number": 3},
        {"number": 1},
        {"number": 0},
        {"setting": "another seed, camera, size or border"},
        {"picture": np.full((HEIGHT, WIDTH, 3), 2.0, np.float32)},
        {"view": "turned: without vectors nothing is known"},
    ],
)
def test_a_frame_that_does_not_follow_is_made_by_itself(change):
    ones, zeros = (np.full((HEIGHT, WIDTH, 1), value, np.float32) for value in (1.0, 0.0))
    steadied(frame(1, ones))
    assert np.array_equal(steadied(replace(frame(2, zeros), **change)), zeros)


def test_a_frame_that_follows_takes_its_share_and_is_the_next_one_s_past():
    ones, zeros = (np.full((HEIGHT, WIDTH, 1), value, np.float32) for value in (1.0, 0.0))
    steadied(frame(1, ones))
    assert np.allclose(steadied(frame(2, zeros)), 0.5) and np.allclose(steadied(frame(3, zeros)), 0.25)
    assert not zeros.any(), "what came in is not written to"
    previous_frame.forget()
    assert np.array_equal(steadied(frame(4, zeros)), zeros)


def test_another_size_or_another_layer_starts_anew():
    zeros, ones = np.zeros((HEIGHT, WIDTH, 1), np.float32), np.ones((HEIGHT, WIDTH, 1), np.float32)
    steadied(frame(1, ones))
    other = previous_frame.steadied(("Scene", "Second"), frame(2, zeros), 0.5)["Neural"]
    assert np.array_equal(other, zeros)
    small = {"vectors": moving(0, 0)[:12], "picture": np.full((12, WIDTH, 3), 0.5, np.float32)}
    assert not steadied(replace(frame(2, zeros[:12]), **small)).any()


def test_alpha_stays_and_normals_are_of_length_one():
    steadied(frame(1, np.concatenate([np.ones((HEIGHT, WIDTH, 3)), np.zeros((HEIGHT, WIDTH, 1))], -1).astype(np.float32)))
    mixed = steadied(frame(2, np.concatenate([np.zeros((HEIGHT, WIDTH, 3)), np.ones((HEIGHT, WIDTH, 1))], -1).astype(np.float32)))
    assert np.allclose(mixed, (0.5, 0.5, 0.5, 1.0))
    previous_frame.forget()
    up, right = (np.broadcast_to(np.float32(axis), (HEIGHT, WIDTH, 3)) for axis in ((0, 0, 1), (1, 0, 0)))
    steadied(frame(1, up))
    turned = steadied(frame(2, right), unit=frozenset({"Neural"}))
    assert np.allclose(turned, (2**-0.5, 0, 2**-0.5), atol=1e-6)
