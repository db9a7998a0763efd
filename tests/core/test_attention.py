# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects joint attention: it equals a loop under a mask, for any subset and images, on every base."""

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as attention

from engine_server.diffusion.flux import positions
from engine_server.diffusion.loading import load_base
from engine_server.teamwork import TeamConfig, load_team
from engine_server.teamwork.attention import Joined, fold, groups, joint_layers, unfold
from engine_server.teamwork.inject import attach, detach
from engine_server.teamwork.positions import Offsets

from .tiny import FAMILIES, tiny_adapter, tiny_base

ACTIVE, IMAGES, HEADS, LENGTH, WIDTH = 3, 2, 2, 5, 4


def test_folding_is_undone():
    rows = torch.randn(ACTIVE * IMAGES, HEADS, LENGTH, WIDTH)
    assert torch.equal(unfold(fold(rows, ACTIVE), ACTIVE), rows)


def masked(query, key, value, allow, active):
    """One query at a time, as the rule reads: a softmax over all tokens of the image, the forbidden ones struck out."""
    made = torch.zeros_like(query)
    for row, head, token in np.ndindex(*query.shape[:3]):
        one, image = divmod(row, IMAGES)
        rows = range(image, len(query), IMAGES)
        scores = torch.stack([key[r, head] @ query[row, head, token] for r in rows]) / WIDTH**0.5  # teammate x token
        for other in range(len(active)):
            if allow[active[one]][active[other]] == "0":
                scores[other] = -torch.inf
        weights = scores.flatten().softmax(0).view(scores.shape)
        made[row, head, token] = sum(w @ value[r, head] for w, r in zip(weights, rows, strict=True))
    return made


@pytest.mark.parametrize("allow", [("1111",) * 4, ("1100", "1111", "0111", "1011"), ("1000", "0100", "0010", "0001")])
@pytest.mark.parametrize("active", [(0, 1, 2, 3), (1, 2, 3), (0, 3), (2,)])
def test_the_product_equals_masked_attention_over_the_rows_of_each_image(allow, active):
    torch.manual_seed(0)
    q, k, v = (torch.randn(len(active) * IMAGES, HEADS, LENGTH, WIDTH, dtype=torch.float64) for _ in range(3))
    with Joined(groups(allow, active)):
        fast = attention(q, k, value=v)
    torch.testing.assert_close(fast, masked(q, k, v, allow, active))


def test_who_may_attend_to_nobody_present_attends_to_itself():
    q, k, v = (torch.randn(IMAGES, HEADS, LENGTH, WIDTH) for _ in range(3))
    with Joined(groups(("01", "11"), (0,))):
        alone = attention(q, k, v)
    assert torch.isfinite(alone).all() and torch.equal(alone, attention(q, k, v))


@pytest.mark.parametrize("family", FAMILIES)
def test_teammates_meet_in_attention_alone(family, tmp_path, photo):
    """With adapters that do nothing, joint attention is the only way from one teammate to another."""
    base = tiny_base(family, tmp_path)
    apart = load_team(base, tiny_adapter(base, tmp_path / "apart.safetensors", 0.0, profile=family))
    joint = load_team(base, tiny_adapter(base, tmp_path / "joint.safetensors", 0.0, profile=f"{family}_PLUSATTN"))
    assert joint_layers(joint.base.network, family)
    for team, meets in ((apart, False), (joint, True)):
        a, b = (team.run({"image": p}, ["albedo"], steps=1)["albedo"] for p in (photo, 1 - photo))
        assert (np.abs(a - b).max() > 1e-6) == meets
    alone = [team.run({}, ["albedo"], steps=1, width=24, height=16)["albedo"] for team in (apart, joint)]
    assert np.array_equal(*alone)
    detach(joint.base.network)
    assert all("forward" not in m.__dict__ for m in joint.base.network.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_rules_hold_in_a_whole_team(family, tmp_path, photo):
    """Who may see itself only is as if alone; who may see the photo is not; several images at once change nothing."""
    base = tiny_base(family, tmp_path)
    rules = {"none": "10000;01000;00100;00010;00001", "albedo": "10000;11000;00100;00010;00001"}
    teams = {}
    for name, rule in rules.items():
        config = {"profile": f"{family}_PLUSATTN", "attn_allow": tuple(rule.split(";"))}
        teams[name] = load_team(base, tiny_adapter(base, tmp_path / name, 0.0, **config))
    apart = load_team(base, tiny_adapter(base, tmp_path / "apart", 0.0, profile=family))
    expected = apart.run({"image": photo}, ["albedo", "depth"], steps=1)
    made = {name: team.run({"image": photo}, ["albedo", "depth"], steps=1) for name, team in teams.items()}
    for name in expected:
        np.testing.assert_allclose(made["none"][name], expected[name], atol=1e-5)
    np.testing.assert_allclose(made["albedo"]["depth"], expected["depth"], atol=1e-5)
    assert np.abs(made["albedo"]["albedo"] - expected["albedo"]).max() > 1e-6
    batch = teams["albedo"].run([{"image": photo}, {"image": 1 - photo}], ["albedo", "depth"], steps=1)[0]
    np.testing.assert_allclose(batch["albedo"], made["albedo"]["albedo"], atol=1e-5)


def one_joined_row(network, family, offset):
    """The network with joint attention for one teammate that stands at an offset."""
    config = TeamConfig(("image.in",), 2, f"{family}_PLUSATTN", teammate_image_ids=(offset,))
    return attach(network, [], config)


@pytest.mark.parametrize("family", ["FLUX", "FLUX2"])
def test_an_offset_is_the_first_number_of_the_position_ids(family, tmp_path):
    base = tiny_base(family, tmp_path)
    kind = type(load_base(base).network)
    torch.manual_seed(0)
    network = kind.from_config({**kind.load_config(base / "transformer"), "num_single_layers": 0}).eval()
    given = load_base(base).conditions(1, 24, 32)
    given |= {"hidden_states": torch.randn(1, 12, 16), "timestep": torch.tensor([0.5]), "return_dict": False}
    ids = positions(6, 8, len(network.config.axes_dims_rope))
    with torch.no_grad():
        there = network(img_ids=ids + torch.eye(ids.shape[1])[0] * 10, **given)[0]
        plain = network(img_ids=ids, **given)[0]
        with one_joined_row(network, family, 10).working((0,)):
            offset = network(img_ids=ids, **given)[0]
        detach(network)
        bare = network(img_ids=ids, **given)[0]
    torch.testing.assert_close(offset, there)
    assert (offset - plain).abs().max() > 1e-5 and torch.equal(bare, plain)
    assert not network._forward_pre_hooks


def test_offsets_of_zimage_are_steps_on_its_first_axis(tmp_path, monkeypatch):
    base = tiny_base("ZIMAGE", tmp_path)
    kind = type(load_base(base).network)
    torch.manual_seed(0)
    network = kind.from_config({**kind.load_config(base / "transformer"), "n_refiner_layers": 0}).eval()
    given = [torch.randn(4, 1, 6, 8)], torch.tensor([0.5]), [torch.randn(3, 16)]
    with torch.no_grad():
        with one_joined_row(network, "ZIMAGE", 10).working((0,)):
            offset = network(*given, patch_size=2, return_dict=False)[0][0]
        detach(network)
        plain = network(*given, patch_size=2, return_dict=False)[0][0]
        grid = network.create_coordinate_grid
        step = lambda size, start, device: grid(size, (start[0] + 10 * (size[1] > 1), *start[1:]), device)  # noqa: E731
        monkeypatch.setattr(network, "create_coordinate_grid", step)
        there = network(*given, patch_size=2, return_dict=False)[0][0]
    torch.testing.assert_close(offset, there)
    assert (offset - plain).abs().max() > 1e-5


def test_each_teammate_stands_at_its_own_offset():
    rows = torch.randn(2 * IMAGES, HEADS, LENGTH, 8)
    offsets = Offsets((10, 0, 3), theta=100.0, width=4, image=slice(2, None))
    moved = offsets.move(rows, torch.tensor([10.0, 3.0]))  # teammate-major: two images of the first, two of the third
    angles = torch.tensor([1.0, 0.1])
    for row, place in enumerate((10, 10, 3, 3)):
        turn = torch.polar(torch.ones(2), angles * place)
        pairs = torch.view_as_complex(rows[row, :, 2:, :4].unflatten(-1, (2, 2)).contiguous()) * turn
        torch.testing.assert_close(moved[row, :, 2:, :4], torch.view_as_real(pairs).flatten(-2))
    assert torch.equal(moved[:, :, :2], rows[:, :, :2]) and torch.equal(moved[..., 4:], rows[..., 4:])
