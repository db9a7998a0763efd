# SPDX-License-Identifier: GPL-3.0-or-later
"""Holes filled with what lies around them: against slow loops, on patterns whose truth is known, and as a job of the bundled team."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from blender_addon.wire import ChannelImage, Submit
from engine_server.membrane import filled, relaxed
from engine_server.surroundings.patchwork import PIECE, Patchwork
from engine_server.runner import TaskRunner
from engine_server.surroundings import fill
from engine_server.surroundings.fill import continued
from engine_server.surroundings.joints import _Places, joined
from engine_server.surroundings.levels import levels_of
from engine_server.surroundings.windows import Grid, components, described


def bricks(height: int = 128, width: int = 128) -> dict[str, np.ndarray]:
    """Bricks of 16 x 8 pixels that tile, with grain; where the joints are, all channels say."""
    y, x = np.mgrid[:height, :width]
    joint = (y % 8 < 2) | ((x + 8 * (y // 8 % 2)) % 16 < 2)
    grain = np.random.default_rng(1).random((height, width, 1), np.float32) * 0.1
    albedo = np.where(joint[..., None], np.float32([0.8, 0.8, 0.7]), np.float32([0.5, 0.2, 0.1])) + grain
    roughness = np.repeat(np.where(joint[..., None], 0.9, 0.4), 3, -1)
    normals = np.stack([0.5 + 0.3 * joint, np.full(joint.shape, 0.5), np.full(joint.shape, 0.9)], -1)
    return {name: np.float32(values) for name, values in (("albedo", albedo), ("normals", normals), ("roughness", roughness))}


def disc(height: int = 128, width: int = 128, radius: float = 21.0) -> np.ndarray:
    """A round hole in the middle."""
    y, x = np.mgrid[:height, :width]
    return np.hypot(y - height / 2, x - width / 2) < radius


def error(a: np.ndarray, b: np.ndarray, hole: np.ndarray) -> float:
    """RMSE within the hole."""
    return float(np.sqrt(np.mean((a - b)[hole] ** 2)))


@pytest.mark.parametrize("periodic", [False, True])
def test_windows_are_those_of_a_slow_loop(periodic):
    random = np.random.default_rng(0)
    picture, hole = random.random((2, 11, 13), np.float32), random.random((11, 13)) < 0.03
    grid = Grid(11, 13, periodic, side=3)
    wrapped = np.pad(picture, ((0, 0), (0, 2), (0, 2)), "wrap") if periodic else picture
    spoilt = np.pad(hole, ((0, 2), (0, 2)), "wrap") if periodic else hole
    rows, columns = grid.shape
    assert (rows, columns) == ((11, 13) if periodic else (9, 11))
    values, over = torch.from_numpy(picture), grid.any(torch.from_numpy(hole))
    told = described(values, grid, components(values, grid, torch.arange(rows * columns), torch.Generator().manual_seed(0)))
    windows = {}
    for row in range(rows):
        for column in range(columns):
            number = int(grid.at(torch.tensor(row), torch.tensor(column)))
            windows[number] = wrapped[:, row : row + 3, column : column + 3]
            assert over[row, column] == spoilt[row : row + 3, column : column + 3].any()
            seen = [values.flatten(1)[:, grid.pixels(torch.tensor(number), *offset)] for offset in grid.offsets()]
            assert np.array_equal(torch.stack(seen, -1).view(2, 3, 3).numpy(), windows[number])
    for a, b in ((0, 5), (7, 60), (13, 98)):  # all components there are: the distance is exact
        assert float((told[a] - told[b]).square().sum()) == pytest.approx(float(((windows[a] - windows[b]) ** 2).sum()), rel=1e-3)
    assert int(grid.at(torch.tensor(-1), torch.tensor(0))) == ((rows - 1) * columns if periodic else -1)


def test_a_piece_comes_from_the_window_that_a_slow_loop_finds():
    random = np.random.default_rng(3)
    values, hole = torch.from_numpy(random.random((2, 30, 30), np.float32)), torch.zeros(30, 30, dtype=torch.bool)
    hole[14:17, 14:17] = True
    grid = Grid(30, 30, False, PIECE)
    work = Patchwork(values, hole, torch.tensor([False, False]), grid, torch.Generator())
    here = torch.stack([grid.pixels(grid.at(torch.tensor(11), torch.tensor(11)), *offset) for offset in grid.offsets()])
    seen, found = ~hole.numpy()[11:20, 11:20], {}
    for row in range(22):
        for column in range(22):
            if not hole[row : row + PIECE, column : column + PIECE].any():
                off = (values[:, row : row + PIECE, column : column + PIECE] - values[:, 11:20, 11:20]).numpy() * seen
                found[row * 22 + column] = float((off**2).sum())
    like = int(work._like(here))
    assert found[like] <= 1.1 * min(found.values()) + 1e-4


def test_every_pixel_of_a_patchwork_is_a_known_one():
    maps, hole = bricks(48, 48), disc(48, 48, 8)
    values = torch.from_numpy(np.ascontiguousarray(np.moveaxis(maps["albedo"], -1, 0)))
    work = Patchwork(values, torch.from_numpy(hole), torch.zeros(3, dtype=torch.bool), Grid(48, 48, False, PIECE), torch.Generator())
    shares = []
    source = work.sources(shares.append).numpy()
    assert not hole.reshape(-1)[source].any() and np.array_equal(source[~hole.reshape(-1)], np.flatnonzero(~hole))
    assert np.array_equal(work.values.flatten(1).numpy(), values.flatten(1).numpy()[:, source])
    assert shares == sorted(shares) and shares[0] == 0.0


@pytest.mark.parametrize("periodic", [False, True])
def test_a_pattern_goes_on_in_all_channels_together(periodic):
    maps, hole = bricks(), disc()
    if periodic:
        hole = np.roll(hole, (64, 64), (0, 1))  # over all four borders
    made = continued(maps, tuple(maps), hole, periodic)
    for name, truth in maps.items():
        assert np.allclose(made[name][~hole], truth[~hole], atol=1e-5)
        assert error(made[name], truth, hole) < 0.5 * error(filled(truth, hole, periodic), truth, hole), name
    joints = [made["albedo"][..., 1] > 0.5, made["roughness"][..., 0] > 0.65, made["normals"][..., 0] > 0.65]
    assert all((joints[0] == other)[hole].mean() > 0.97 for other in joints[1:])


def test_detail_is_as_fine_in_the_hole_as_beside_it():
    grain = {"albedo": np.random.default_rng(2).random((96, 96, 3), np.float32)}
    hole = disc(96, 96, 14)
    made = continued(grain, ("albedo",), hole)["albedo"]
    steps = np.abs(np.diff(made, axis=1)).mean(-1)
    inside = hole[:, 1:] & hole[:, :-1]
    assert 0.5 < steps[inside].mean() / steps[~inside].mean() < 1.1


def test_what_is_known_in_the_hole_leads():
    y, x = np.mgrid[:96, :96]
    spots = (np.random.default_rng(5).random((24, 24)) < 0.4).repeat(4, 0).repeat(4, 1)[..., None]
    maps = {"albedo": np.repeat(np.where(spots, 0.8, 0.2), 3, -1), "roughness": np.repeat(np.where(spots, 0.3, 0.9), 3, -1)}
    maps, hole = {name: np.float32(values) for name, values in maps.items()}, disc(96, 96, 14)
    made = continued(maps, ("roughness",), hole)
    assert set(made) == {"roughness"}
    assert ((made["roughness"][..., 0] < 0.6) == spots[..., 0])[hole].mean() > 0.95


def test_the_seed_decides_and_what_the_hole_hides_has_no_say():
    grain, hole = {"albedo": np.random.default_rng(2).random((64, 64, 3), np.float32)}, disc(64, 64, 9)
    hidden = {"albedo": np.where(hole[..., None], np.float32(7), grain["albedo"])}
    hole = np.repeat(hole, 2, 1)[:, ::2]  # the same, but not in one piece
    one, again, other, same = (
        continued(pictures, ("albedo",), hole, seed=seed)["albedo"] for pictures, seed in ((grain, 1), (grain, 1), (grain, 2), (hidden, 1))
    )
    assert np.array_equal(one, again) and np.allclose(one, same, atol=1e-5) and not np.allclose(one, other, atol=0.05)


def test_steps_are_counted_and_it_can_be_stopped():
    maps, hole, told = bricks(), disc(), []

    def stop(step, total, preview):
        told.append((step, total))
        assert preview().shape == (*preview().shape[:2], 3)
        if len(told) == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        continued(maps, ("albedo",), hole, on_step=stop)
    told.clear()
    continued(maps, ("albedo",), hole, on_step=lambda step, total, preview: told.append((step, total)))
    steps, totals = zip(*told, strict=True)
    assert list(steps) == sorted(set(steps)) and set(totals) == {steps[-1]}


@pytest.mark.parametrize("hole", [np.ones((40, 40), bool), disc(40, 40, 30), np.eye(8, dtype=bool)])
def test_where_next_to_nothing_is_known_it_is_filled_smoothly(hole):
    picture = np.random.default_rng(0).random((*hole.shape, 3), np.float32)
    made = continued({"albedo": picture}, ("albedo",), hole)["albedo"]
    assert np.array_equal(made, filled(picture, hole))


@pytest.mark.parametrize("seamless", [0, 1])
def test_the_bundled_team_mends_a_material(seamless):
    maps, hole = bricks(), disc()
    spaces = {"albedo": "scene-linear", "normals": "tangent-normal", "roughness": "data"}
    given = {name: ChannelImage(values[..., :1] if name == "roughness" else values, spaces[name]) for name, values in maps.items()}
    normals = given["normals"].data * 2 - 1
    given["normals"] = ChannelImage(normals / np.linalg.norm(normals, axis=-1, keepdims=True), "tangent-normal")
    given["mask"] = ChannelImage(hole[..., None].astype(np.float32), "data")
    made, info = TaskRunner().run(Submit("j", "inpaint", "nano", given, (), {"seamless": seamless}), lambda *step: None)
    assert "what lies around it" in info["note"]
    for name, output in made.items():
        before = given[name].data
        assert np.array_equal(output.data[~hole], before[~hole]), name
        assert error(output.data, before, hole) < 0.5 * error(filled(before, hole), before, hole), name
    assert np.allclose(np.linalg.norm(made["normals"].data, axis=-1), 1.0, atol=1e-4)


@pytest.mark.parametrize("periodic", [False, True])
def test_what_is_made_up_for_at_joints_is_that_of_a_slow_loop(periodic):
    random = np.random.default_rng(4)
    picture, hole = random.random((8, 9, 2), np.float32), random.random((8, 9)) < 0.4
    known = np.flatnonzero(~hole)
    source = np.where(hole, random.choice(known, hole.shape), np.arange(72).reshape(8, 9))
    copied = picture.reshape(-1, 2)[source]

    def beside(place, down, right):
        y, x = place[0] + down, place[1] + right
        inside = periodic or (0 <= y < 8 and 0 <= x < 9)
        return (y % 8, x % 9) if inside else None

    expected = np.zeros_like(copied)
    for here in np.ndindex(8, 9):
        for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            there = beside(here, down, right)
            if there is None or not (hole[here] or hole[there]):
                continue
            come, go = np.unravel_index(source[here], (8, 9)), np.unravel_index(source[there], (8, 9))
            seen = [(come, beside(come, down, right)), (beside(go, -down, -right), go)]
            seen = [picture[a] - picture[b] for a, b in seen if a is not None and b is not None and not hole[a] and not hole[b]]
            if seen:
                expected[here] += np.mean(seen, 0) - (copied[here] - copied[there])
    assert np.allclose(_Places(picture, hole, source, periodic).tension(copied), expected, atol=1e-5)


def test_a_joint_between_pieces_of_unlike_brightness_is_softened():
    picture = np.full((24, 24, 1), 0.2, np.float32)
    picture[:, 12:] = 0.6
    hole = np.zeros((24, 24), bool)
    hole[8:16, 2:22] = True
    source = np.arange(576).reshape(24, 24)
    source[8:16, 2:12] = source[8:16, 12:22] = source[:8, 13:23]  # all from the bright side
    values = torch.from_numpy(picture[..., 0][None])
    made = joined(values, torch.from_numpy(hole)[None], torch.from_numpy(hole).view(-1), torch.from_numpy(source).view(-1), False)
    row = made[0, 12].numpy()
    assert np.abs(np.diff(row)).max() < 0.2 and abs(row[10] - 0.6) < 0.1  # without that the step is 0.4
    assert np.array_equal(made[0].numpy()[~hole], picture[..., 0][~hole])


def test_a_tie_keeps_what_is_made_up_for_near():
    hole = np.ones((41, 41), bool)
    aim = np.zeros((41, 41, 1), np.float32)
    aim[20, 20] = 1.0
    free, tied = relaxed(aim, hole, True, tie=1e-3), relaxed(aim, hole, True, tie=0.1)
    assert tied[20, 30] < 0.1 * free[20, 30] and 0 < tied[20, 20] < free[20, 20]
    around = np.pad(tied, ((1, 1), (1, 1), (0, 0)), "wrap")
    stretch = 4.1 * tied - around[:-2, 1:-1] - around[2:, 1:-1] - around[1:-1, :-2] - around[1:-1, 2:]
    assert np.allclose(stretch, aim, atol=1e-3)


@pytest.mark.parametrize(("side", "expected"), [(64, 0), (100, 0), (200, 1), (700, 1)])
def test_there_is_a_smaller_start_where_there_is_room(side, expected):
    hole = np.zeros((side, side), bool)
    hole[side // 2 : side // 2 + side // 8, side // 2 : side // 2 + side // 8] = True
    levels, usual = levels_of(torch.zeros(1, side, side), hole, periodic=False)
    assert usual == expected and [each.shape[-1] for _, each in levels] == sorted(each.shape[-1] for _, each in levels)
    assert levels[-1][1].shape == (side, side) and min(levels[0][1].shape) >= min(side, 64)


@pytest.mark.parametrize(("unlike", "smaller"), [(0.5, True), (0.7, False)])
def test_the_smaller_start_is_used_only_where_it_is_surely_better(monkeypatch, unlike, smaller):
    """Two starts, of which each copies from another side."""
    picture, hole = np.random.default_rng(0).random((160, 160, 3)).astype(np.float32), np.zeros((160, 160), bool)
    hole[70:90, 70:90] = True
    copied = []

    def found(self, number, *words):
        source = torch.arange(160 * 160).view(160, 160).roll(40 if number else -40, 1).reshape(-1)
        return fill._Found(source, 1.0 if number else unlike)

    monkeypatch.setattr(fill._Fill, "_begun", found)
    monkeypatch.setattr(fill._Fill, "_risen", lambda self, begun: begun)
    monkeypatch.setattr(fill, "joined", lambda values, made, hole, source, periodic: copied.append(source.clone()) or values)
    continued({"albedo": picture}, ("albedo",), hole)
    assert int(copied[0][0]) == (40 if smaller else 120)
