# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiles and shifted patch grids: what the base sees, and how its predictions are blended."""

from __future__ import annotations

import numpy as np
import torch

from engine_server.diffusion.tiling import Tiled, grids


class Patches:
    """A base that answers each patch with its own mean, as a network without any sight beyond a patch would."""

    patch, factor, largest = 2, 8, None

    def predict(self, latents, timestep, conditions):
        mean = torch.nn.functional.avg_pool2d(latents, 2)
        return mean.repeat_interleave(2, -2).repeat_interleave(2, -1)


def test_grids_lie_half_a_patch_apart_and_hold_whole_patches():
    assert grids(8, 2) == [slice(0, 8), slice(1, 7)]
    assert grids(8, 4) == [slice(0, 8), slice(2, 6)]
    assert grids(2, 2) == [slice(0, 2)] and grids(8, 1) == [slice(0, 8)]


def test_a_lapped_prediction_is_the_mean_over_the_grids_that_hold_a_cell():
    latents = torch.from_numpy(np.random.default_rng(0).random((2, 3, 6, 8), np.float32))
    made = Tiled(Patches(), lapped=True).predict(latents, torch.zeros(2), {})
    expected = torch.zeros_like(latents)
    for y in range(6):
        for x in range(8):
            parts = []
            for top in (0, 1):
                for left in (0, 1):
                    y0, x0 = (y - top) // 2 * 2 + top, (x - left) // 2 * 2 + left
                    if top <= y < 6 - top and left <= x < 8 - left:
                        parts.append(latents[..., y0 : y0 + 2, x0 : x0 + 2].mean((-2, -1)))
            expected[..., y, x] = torch.stack(parts).mean(0)
    torch.testing.assert_close(made, expected)


def test_a_lapped_ramp_has_no_steps_of_a_whole_patch():
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    plain, lapped = (Tiled(Patches(), lapped=lap).predict(ramp, torch.zeros(1), {})[0, 0, 8, 1:-1].diff() for lap in (False, True))
    assert plain.max() == 2.0 and lapped.max() == 1.0


def test_tiles_are_lapped_each():
    latents = torch.from_numpy(np.random.default_rng(0).random((1, 3, 16, 16), np.float32))
    whole = Tiled(Patches(), lapped=True).predict(latents, torch.zeros(1), {})
    tiles = Tiled(Patches(), side=8, lapped=True).predict(latents, torch.zeros(1), {})
    inner = (..., slice(1, 4), slice(1, 4))  # covered by the first tile alone, away from its edges
    torch.testing.assert_close(tiles[inner], whole[inner])


def test_tiles_are_of_whole_patches_whatever_side_is_asked_for():
    latents = torch.from_numpy(np.random.default_rng(0).random((1, 3, 20, 24), np.float32))
    for side, like in ((9, 8), (7, 6), (1, 2)):
        made, expected = (Tiled(Patches(), side=n).predict(latents, torch.zeros(1), {}) for n in (side, like))
        torch.testing.assert_close(made, expected)
    base = Patches()
    base.largest = 9
    assert Tiled(base).limit == 8 and Tiled(Patches()).limit is None
