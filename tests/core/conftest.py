# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiny, seeded, real networks in diffusers layout on disk, and teams on them."""

from __future__ import annotations

from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from engine_server.diffusion.base import Prompt
from engine_server.diffusion.loading import load_base
from engine_server.diffusion.prompts import FILE, write_prompt
from engine_server.teamwork import TeamConfig
from engine_server.teamwork.checkpoint import save_checkpoint
from engine_server.teamwork.inject import adapters, attach, profile_layers

TEAMMATES = ("image.in", "albedo.out", "normals.in", "normals.out", "depth.out")


def tiny_sd3(folder: Path) -> Path:
    """A 2-block SD3 base of width 16 with a 4-channel, factor-2 VAE."""
    torch.manual_seed(0)
    diffusers.SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=16, caption_projection_dim=16, pooled_projection_dim=8,
        pos_embed_max_size=16,
    ).save_pretrained(folder / "transformer")
    diffusers.AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4, layers_per_block=1,
        shift_factor=0.06, scaling_factor=1.5,
    ).save_pretrained(folder / "vae")
    diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    write_prompt(folder / FILE, Prompt(torch.randn(1, 3, 16), torch.randn(1, 8)))
    return folder


def tiny_adapter(base: Path, path: Path, scale: float = 0.1, teammates: tuple[str, ...] = TEAMMATES, **config) -> Path:
    """A checkpoint for the base with random weights of that scale (0: an untrained team)."""
    frozen = load_base(base)
    settings = {"rank": 4, "profile": "SD3", "base_model": "tiny/sd3"} | config
    attach(frozen.network, profile_layers(frozen.network, "SD3"), team := TeamConfig(teammates, **settings))
    generator = torch.Generator().manual_seed(1)
    for adapter in adapters(frozen.network).values():
        for parameter in adapter.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * scale
    save_checkpoint(path, frozen.network, team)
    return path


@pytest.fixture(scope="session")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base's folder."""
    return tiny_sd3(tmp_path_factory.mktemp("sd3"))


@pytest.fixture(scope="session")
def adapter(sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with all tensors random."""
    return tiny_adapter(sd3, tmp_path_factory.mktemp("adapter") / "team.safetensors")


@pytest.fixture
def photo() -> np.ndarray:
    """A picture whose sides are no multiple of anything."""
    return np.random.default_rng(0).random((21, 30, 3), np.float32)
