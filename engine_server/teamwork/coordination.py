# SPDX-License-Identifier: GPL-3.0-or-later
"""The equation of Teamwork (arXiv 2510.05532): a low-rank update over the concatenation of all teammates.

    h    = sum over active teammates t of  x_t . down[t]
    y_t  = W x_t + b + h . up[t] + bias[t]

Rows lie teammate-major: with A active teammates and I images, row a * I + i is teammate a of image i. Then every
activation is, without a copy, A blocks of I * N tokens, and all teammates of all images take one batched matrix product
per direction, whose cost is linear in images and in teammates.
"""

from __future__ import annotations

import torch

Tensor = torch.Tensor


def blocks(x: Tensor, active: int) -> Tensor:
    """View rows (A * I) x ... x d as A x (I * ...) x d."""
    return x.reshape(active, -1, x.shape[-1])


def hidden(x: Tensor, down: Tensor, communication: bool) -> Tensor:
    """The hidden vectors of A x M x d_in activations under A x d_in x r: 1 x M x r shared, or A x M x r kept apart."""
    each = torch.bmm(x, down)
    return each.sum(dim=0, keepdim=True) if communication else each


def coordinate(y: Tensor, x: Tensor, down: Tensor, up: Tensor, bias: Tensor | None, communication: bool) -> Tensor:
    """Add the coordinated update to the base layer's output, in place where autograd allows it.

    y: A x M x d_out, the base layer's output; x: A x M x d_in, its input; down: A x d_in x r; up: A x r x d_out;
    bias: A x d_out or None. Returns A x M x d_out.
    """
    h = hidden(x, down, communication).expand(x.shape[0], -1, -1)
    if torch.is_autocast_enabled(x.device.type):  # mixed precision knows no operations in place
        y = torch.baddbmm(y, h, up)
        return y if bias is None else y + bias[:, None].to(y.dtype)
    if y.dtype != up.dtype:  # some layers of a base stay in float32 whatever its precision, and quantised ones have their own
        update = torch.bmm(h, up) if bias is None else torch.baddbmm(bias[:, None], h, up)
        return y + update.to(y.dtype)
    y = y.baddbmm_(h, up)
    return y if bias is None else y.add_(bias[:, None])


def coordinate_pixels(y: Tensor, x: Tensor, down: Tensor, up: Tensor, bias: Tensor | None, communication: bool) -> Tensor:
    """The same update per pixel of feature maps, as a 1 x 1 convolution.

    y: (A * I) x d_out x H x W; x: (A * I) x d_in x H x W. Returns the shape of y. The product is taken per image, since
    channels come before pixels: A * I matrix products of d x r by d x (H * W).
    """
    active = down.shape[0]
    pixels = x.flatten(2).unflatten(0, (active, -1))
    each = down.transpose(1, 2)[:, None] @ pixels
    h = each.sum(dim=0, keepdim=True) if communication else each
    update = (up.transpose(1, 2)[:, None] @ h).flatten(0, 1)
    if bias is not None:
        update = update.unflatten(0, (active, -1)).add_(bias[:, None, :, None]).flatten(0, 1)
    return y + update.reshape(y.shape).to(y.dtype)
