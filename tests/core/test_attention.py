# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects joint attention: the folded product equals a loop over images, on every base, for any subset."""

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as attention

from engine_server.teamwork import load_team
from engine_server.teamwork.attention import Joined, fold, joint_layers, unfold
from engine_server.teamwork.inject import detach

from .tiny import FAMILIES, tiny_adapter, tiny_base

ACTIVE, IMAGES, HEADS, LENGTH, WIDTH = 3, 2, 2, 5, 4


def test_folding_is_undone():
    rows = torch.randn(ACTIVE * IMAGES, HEADS, LENGTH, WIDTH)
    assert torch.equal(unfold(fold(rows, ACTIVE), ACTIVE), rows)


def test_the_product_runs_over_the_rows_of_each_image_alone():
    q, k, v = (torch.randn(ACTIVE * IMAGES, HEADS, LENGTH, WIDTH) for _ in range(3))
    with Joined(ACTIVE):
        fast = attention(q, k, value=v)
    for image in range(IMAGES):
        mine = [t[image::IMAGES] for t in (q, k, v)]  # teammate-major rows of this image
        joined = [torch.cat(list(t), dim=1)[None] for t in mine]
        slow = attention(*joined)[0].split(LENGTH, dim=1)
        torch.testing.assert_close(fast[image::IMAGES], torch.stack(slow))


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
