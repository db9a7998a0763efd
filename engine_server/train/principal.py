# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts an AutoencoderDC as the principal components of its patches, so that training only has to improve on them.

Patches are 4 x 4 pixels for two levels, 8 x 8 for three. Every convolution is set to the part of the linear map that falls to it:
pixel (un)shuffling in all levels but the deepest, there the projection. With two levels and 48 latent channels nothing is lost.
The residual blocks start at nothing. A random start needed more than ten times the computing for less (see the notes).
"""

from __future__ import annotations

import torch
from torch import nn

Tensor = torch.Tensor
ANCHOR = 40.0
"""A constant channel so large that the decoder's last RMS norm sees, besides it, almost nothing change."""
LIFT = 2.0
"""Keeps the decoder's last ReLU in its linear part."""


def patches(images: Tensor, levels: int = 3) -> Tensor:
    """B x 3 x H x W to (B * H/f * W/f) x (3 f f) with f = 2^levels, in the order that repeated `pixel_unshuffle` by 2 gives."""
    for _ in range(levels):
        images = nn.functional.pixel_unshuffle(images, 2)
    return images.movedim(1, -1).flatten(0, -2)


def components(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, orthonormal directions as rows (largest variance first), and variances of N x D vectors."""
    mean = vectors.mean(dim=0)
    variance, directions = torch.linalg.eigh((vectors - mean).T.cov())
    return mean, directions.flip(1).T.contiguous(), variance.flip(0).clamp_min(1e-8)


@torch.no_grad()
def start_from_components(vae: nn.Module, images: Tensor) -> None:
    """Set the weights of an `AutoencoderDC` of ResBlocks with convolutional downsampling, none in its first block.

    `images` are B x 3 x H x W in -1..1. Latents come out with the fourth root of the components' variances as their
    deviation: between the raw components, where details vanish beside the mean colour, and whitened ones.
    """
    mean, directions, variance = components(patches(images, len(vae.encoder.down_blocks) - 1))
    for block in (m for m in vae.modules() if type(m).__name__ == "ResBlock"):
        block.norm.weight.zero_()
        block.norm.bias.zero_() if block.norm.bias is not None else None
    kept = vae.config.latent_channels
    gain = variance[:kept] ** -0.25
    encoder_start(vae.encoder, mean, directions, gain)
    decoder_start(vae.decoder, mean, directions, gain)


def encoder_start(encoder: nn.Module, mean: Tensor, directions: Tensor, gain: Tensor) -> None:
    """Pixel unshufflings, the projection, and the latents' scale."""
    *shufflings, last = encoder.conv_in, *(blocks[-1] for blocks in encoder.down_blocks[1:-1])
    for level, block in enumerate(shufflings, 1):
        _set_down(block, torch.eye(3 * 4**level))
    features = min(last.conv.out_channels, len(directions))
    _set_down(last, directions[:features])
    kept = len(gain)
    encoder.conv_out.weight.zero_()
    encoder.conv_out.weight[range(kept), range(kept), 1, 1] = gain
    encoder.conv_out.bias.copy_(-gain * (directions[:kept] @ mean))


def decoder_start(decoder: nn.Module, mean: Tensor, directions: Tensor, gain: Tensor) -> None:
    """The inverse: the latents' scale, the components, pixel shufflings."""
    kept = len(gain)
    decoder.conv_in.weight[:kept] = 0
    decoder.conv_in.weight[range(kept), range(kept), 1, 1] = 1 / gain
    decoder.conv_in.bias[:kept] = 0
    ups = [block for up in decoder.up_blocks for block in up if type(block).__name__ == "DCUpBlock2d"][::-1]
    _set_up(ups[0], directions[:kept].T, mean)
    for level, block in enumerate(ups[1:], 1):
        values = len(directions) // 4**level
        _set_up(block, torch.eye(values), torch.zeros(values))
    ups[-1].conv.bias[48:52] = ANCHOR
    width = decoder.norm_out.weight.numel()
    decoder.norm_out.weight.fill_(ANCHOR / width**0.5)
    decoder.norm_out.bias.fill_(LIFT)
    decoder.norm_out.weight[12] = 0
    _set_up(decoder.conv_out, torch.eye(12), torch.full((12,), -LIFT))


def _set_down(block: nn.Module, matrix: Tensor) -> None:
    """Make a stride-2 block compute `matrix` (out x 4 in) of each 2 x 2 cell, its averaging shortcut taken off."""
    conv, out = block.conv, len(matrix)
    conv.weight[:out] = 0
    conv.bias[:out] = 0
    inputs = matrix.shape[1] // 4
    conv.weight[:out, :inputs, 1:, 1:] = matrix.reshape(out, inputs, 2, 2)
    if block.shortcut:
        size = block.group_size
        for index in range(min(4 * conv.in_channels, out * size)):
            conv.weight[index // size, index // 4, 1 + index % 4 // 2, 1 + index % 2] -= 1 / size


def _set_up(block: nn.Module, matrix: Tensor, bias: Tensor) -> None:
    """Make an upsampling block compute `matrix` (4 out x in) for each 2 x 2 cell, its repeating shortcut taken off."""
    conv, (out, inputs) = block.conv, matrix.shape
    conv.weight[:] *= 0.1
    conv.weight[:out] = 0
    conv.bias[:] = 0
    conv.weight[:out, :inputs, 1, 1] = matrix
    conv.bias[:out] = bias
    if block.shortcut:
        for index in range(conv.out_channels):
            conv.weight[index, index // block.repeats, 1, 1] -= 1
