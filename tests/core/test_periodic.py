# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures that tile: through the autoencoder, through the network, and through a whole team."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine_server.diffusion.periodic import PeriodicCoder, continued, folded
from engine_server.diffusion.tiling import Tiled, ring_starts
from engine_server.teamwork import RequestError, load_team
from engine_server.teamwork.views import shifted

from .test_tiling import Patches


class Faded(Patches):
    """A base that darkens what is near a border of what it sees, as one that knows of borders; no patches."""

    patch, factor = 1, 1

    def predict(self, latents, timestep, conditions):
        return latents * self._near(latents.shape[-2])[:, None] * self._near(latents.shape[-1])

    encode = decode = lambda self, pixels, generators=None: self.predict(pixels, None, None)

    @staticmethod
    def _near(length: int) -> torch.Tensor:
        edge = torch.minimum(torch.arange(length), torch.arange(length).flip(0))
        return torch.where(edge < 2, 0.5, 1.0)


@pytest.fixture(scope="module")
def team(sd3, adapter):
    return load_team(sd3, adapter)


def rows(*shape: int) -> torch.Tensor:
    """Seeded numbers."""
    return torch.from_numpy(np.random.default_rng(0).random(shape, np.float32))


@pytest.mark.parametrize("margins", [(0, 0), (2, 3), (4, 5), (1, 0)])
def test_folding_takes_back_what_was_continued(margins):
    picture = rows(2, 3, 8, 10)
    wide = continued(picture, margins)
    assert wide.shape[-2:] == (8 + 2 * margins[0], 10 + 2 * margins[1])
    torch.testing.assert_close(wide, torch.from_numpy(np.pad(picture.numpy(), [(0, 0), (0, 0), *((m, m) for m in margins)], "wrap")))
    torch.testing.assert_close(folded(wide, margins), picture)


def test_folded_borders_are_as_smooth_as_the_ramp():
    ramp = torch.arange(20.0).expand(1, 1, 6, 20)  # a continuation that disagrees with the other side by 12
    made = folded(ramp, (0, 4))[0, 0, 0]
    assert abs(made[0] - made[-1]) < 12 / 8 + 1


@pytest.mark.parametrize(("length", "tile"), [(8, 100), (32, 32), (40, 16), (3, 2), (1, 1), (2, 5)])
def test_tiles_of_a_ring_cover_each_others_ends(length, tile):
    size = min(tile, length)
    begin = ring_starts(length, tile, size // 4)
    assert begin[0] == 0 and all(b < length for b in begin)
    gaps = np.diff([*begin, length])
    assert gaps.max() <= size and (length == 1 or (len(begin) >= 2 and gaps.max() < size))


def test_a_ring_is_predicted_alike_wherever_it_is_cut():
    picture, tiled = rows(1, 2, 12, 16), Tiled(Faded(), periodic=True)
    made = tiled.predict(picture, torch.zeros(1), {})
    rolled = tiled.predict(picture.roll((6, 8), (-2, -1)), torch.zeros(1), {})
    torch.testing.assert_close(rolled, made.roll((6, 8), (-2, -1)))
    plain = Tiled(Faded()).predict(picture, torch.zeros(1), {})
    border = (..., slice(4, 8), 0)  # a tile's end weighs least where another one has its middle
    assert (made[border] / picture[border]).min() > 0.8 > 0.6 > (plain[border] / picture[border]).max()


def test_tiles_of_a_ring_are_no_larger_than_the_base_takes():
    picture = rows(1, 1, 20, 24)
    made = Tiled(Patches(), side=8, periodic=True).predict(picture, torch.zeros(1), {})
    torch.testing.assert_close(made, Patches().predict(picture, None, None))


def test_the_autoencoder_sees_no_border():
    picture, coder = rows(1, 3, 12, 12), PeriodicCoder(Faded())
    for made in (coder.encode(picture), coder.decode(picture)):
        assert (made / picture).min() > 0.6 and (made / picture)[..., 5:7, 5:7].min() == 1.0
    assert (Faded().encode(picture) / picture).min() == 0.25


def test_shifts_go_round():
    picture = rows(4, 5, 3).numpy()
    made = shifted({"p": picture}, 1, -2, periodic=True)["p"]
    assert np.array_equal(made, np.roll(picture, (1, -2), (0, 1)))


def test_a_team_answers_a_tile_alike_wherever_it_is_cut(team):
    side = 8 * team.base.multiple
    picture = np.random.default_rng(3).random((side, side, 3)).astype(np.float32)
    latent = (team.base.channels, side // team.base.factor, side // team.base.factor)
    noise = np.random.default_rng(4).standard_normal(latent).astype(np.float32)

    def difference(periodic: bool) -> float:
        answers = []
        for turn in (0, 1):
            moved = np.roll(picture, (turn * side // 2,) * 2, (0, 1))
            start = np.roll(noise, (turn * latent[1] // 2,) * 2, (1, 2))
            made = team.run({"image": moved}, "albedo", steps=2, noise={"albedo": start}, periodic=periodic)["albedo"]
            answers.append(np.roll(made, (-turn * side // 2,) * 2, (0, 1)))
        return float(np.abs(answers[0] - answers[1]).mean())

    assert difference(True) < 0.4 * difference(False)


def test_sides_that_are_no_whole_patches_cannot_tile(team):
    with pytest.raises(RequestError, match="multiples of .*not 24 x 17"):
        team.run({"image": np.zeros((17, 24, 3), np.float32)}, "albedo", periodic=True)
