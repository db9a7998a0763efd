# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the equation: the fast forms equal a loop over teammates and images, written as the paper writes it."""

import pytest
import torch

from engine_server.teamwork import TeamConfig
from engine_server.teamwork.coordination import blocks, coordinate, coordinate_pixels
from engine_server.teamwork.inject import adapters, attach, detach

ACTIVE, IMAGES, TOKENS, D_IN, D_OUT, RANK = 3, 2, 5, 6, 7, 4


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def slow(y, x, down, up, bias, communication):
    """y and x: A x I x N x d. One vector at a time."""
    y = y.clone()
    for image in range(x.shape[1]):
        for token in range(x.shape[2]):
            each = [x[t, image, token] @ down[t] for t in range(len(x))]
            for t in range(len(x)):
                hidden = sum(each) if communication else each[t]
                y[t, image, token] += hidden @ up[t] + (0 if bias is None else bias[t])
    return y


@pytest.fixture
def tensors():
    return draw(ACTIVE, D_IN, RANK), draw(ACTIVE, RANK, D_OUT), draw(ACTIVE, D_OUT)


@pytest.mark.parametrize("communication", [True, False])
@pytest.mark.parametrize("with_bias", [True, False])
def test_tokens(tensors, communication, with_bias):
    down, up, bias = tensors
    bias = bias if with_bias else None
    x, y = draw(ACTIVE, IMAGES, TOKENS, D_IN), draw(ACTIVE, IMAGES, TOKENS, D_OUT)
    expected = slow(y, x, down, up, bias, communication)
    rows = y.flatten(0, 1).clone()
    fast = coordinate(blocks(rows, ACTIVE), blocks(x.flatten(0, 1), ACTIVE), down, up, bias, communication)
    torch.testing.assert_close(fast.view_as(expected), expected)


@pytest.mark.parametrize("communication", [True, False])
def test_pixels(tensors, communication):
    down, up, bias = tensors
    x, y = draw(ACTIVE, IMAGES, 2, 3, D_IN), draw(ACTIVE, IMAGES, 2, 3, D_OUT)
    expected = slow(y.flatten(2, 3), x.flatten(2, 3), down, up, bias, communication).view_as(y)
    rows = [t.flatten(0, 1).permute(0, 3, 1, 2).contiguous() for t in (y, x)]
    fast = coordinate_pixels(*rows, down, up, bias, communication)
    torch.testing.assert_close(fast.permute(0, 2, 3, 1).view_as(expected), expected)


def test_gradients(tensors):
    """In-place addition is right for training, too."""
    parameters = [t.clone().requires_grad_() for t in tensors]
    x, w = draw(ACTIVE, TOKENS, D_IN), draw(D_IN, D_OUT)
    torch.autograd.gradcheck(lambda *p: coordinate(x @ w, x, *p, True), parameters)


def adapted(layer):
    network = torch.nn.Sequential(layer)
    roster = attach(network, ["0"], TeamConfig(("a.in", "b.out", "c.out"), RANK, "SD3"))
    for parameter in adapters(network)["0"].parameters():
        torch.nn.init.normal_(parameter)
    return network, roster


def test_an_absent_teammate_is_as_if_it_never_was():
    network, roster = adapted(torch.nn.Linear(D_IN, D_OUT))
    x = torch.randn(2, TOKENS, D_IN)
    adapter = adapters(network)["0"]
    with roster.working((0, 2)):
        two = network(x)
        with torch.no_grad():
            adapter.down[1] += 100
            adapter.up[1] -= 100
        torch.testing.assert_close(network(x), two)


def test_the_kept_selection_follows_the_roster():
    network, roster = adapted(torch.nn.Linear(D_IN, D_OUT))
    x = torch.randn(2, TOKENS, D_IN)
    with torch.no_grad():
        results = []
        for active in ((0, 1), (1, 2), (0, 1)):
            with roster.working(active):
                results.append(network(x))
    torch.testing.assert_close(results[0], results[2])
    assert not torch.allclose(results[0], results[1])


def test_without_a_team_the_base_answers_alone_and_detaching_leaves_it_bare():
    layer = torch.nn.Conv2d(D_IN, D_OUT, 3, padding=1)
    bare = torch.nn.Conv2d(D_IN, D_OUT, 3, padding=1)
    bare.load_state_dict(layer.state_dict())
    network, _ = adapted(layer)
    x = torch.randn(3, D_IN, 4, 4)
    assert torch.equal(network(x), bare(x))
    detach(network)
    assert set(network[0].state_dict()) == {"weight", "bias"} and torch.equal(network(x), bare(x))
