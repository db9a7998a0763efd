# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiny, seeded, real bases in diffusers layout, one per family, and adapters for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import diffusers
import torch

from engine_server.diffusion.base import Prompt
from engine_server.diffusion.loading import load_base
from engine_server.diffusion.prompts import FILE, write_prompt
from engine_server.teamwork import TeamConfig
from engine_server.teamwork.checkpoint import save_checkpoint
from engine_server.teamwork.inject import adapters, attach, profile_layers

TEAMMATES = ("image.in", "albedo.out", "normals.in", "normals.out", "depth.out")
FAMILIES = ("SD2", "SDXL", "SD3", "FLUX", "FLUX2", "ZIMAGE")


def _vae(kind: type = diffusers.AutoencoderKL, **config) -> diffusers.AutoencoderKL:
    return kind(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
        **config,
    )


def _sd3(folder: Path, head: int = 8, text: int = 16) -> Prompt:
    diffusers.SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=head,
        num_attention_heads=2,
        joint_attention_dim=text,
        caption_projection_dim=2 * head,
        pooled_projection_dim=8,
        pos_embed_max_size=16,
    ).save_pretrained(folder / "transformer")
    diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    return Prompt(torch.randn(1, 3, text), torch.randn(1, 8))


def _flux(folder: Path) -> Prompt:
    diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=8,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    ).save_pretrained(folder / "transformer")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    scheduler.save_pretrained(folder / "scheduler")
    return Prompt(torch.randn(1, 3, 16), torch.randn(1, 8), torch.zeros(3, 3))


def _flux2(folder: Path) -> Prompt:
    diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    ).save_pretrained(folder / "transformer")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    scheduler.save_pretrained(folder / "scheduler")
    return Prompt(torch.randn(1, 3, 24))


def _zimage(folder: Path) -> Prompt:
    network = diffusers.ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[4, 6, 6],
        axes_lens=[256, 32, 32],
    )
    for token in (network.x_pad_token, network.cap_pad_token):
        torch.nn.init.normal_(token, 0, 0.02)
    network.save_pretrained(folder / "transformer")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    scheduler.save_pretrained(folder / "scheduler")
    return Prompt(torch.randn(1, 3, 16))


def _unet(folder: Path, **config) -> Prompt:
    diffusers.UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
        **config,
    ).save_pretrained(folder / "unet")
    settings = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
    diffusers.EulerDiscreteScheduler(**settings, timestep_spacing="leading").save_pretrained(folder / "scheduler")
    return Prompt(torch.randn(1, 3, 16), torch.randn(1, 8))


def _sd2(folder: Path) -> Prompt:
    return Prompt(_unet(folder).prompt_embeds)


def _sdxl(folder: Path) -> Prompt:
    size = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4}
    return _unet(folder, **size, projection_class_embeddings_input_dim=8 + 6 * 4)


_BUILDERS = {"SD2": _sd2, "SDXL": _sdxl, "SD3": _sd3, "FLUX": _flux, "FLUX2": _flux2, "ZIMAGE": _zimage}


def tiny_base(family: str, folder: Path) -> Path:
    """A base of some thousand parameters with a 4-channel, factor-2 VAE."""
    return _with_vae(folder, family, _BUILDERS[family])


def wide_sd3(folder: Path) -> Path:
    """A tiny SD3 whose layers are 32 wide."""
    return _with_vae(folder, "SD3", lambda here: _sd3(here, 16, 32))


def _with_vae(folder: Path, family: str, build: Callable[[Path], Prompt]) -> Path:
    torch.manual_seed(0)
    prompt = build(folder)
    if family == "FLUX2":
        vae = _vae(diffusers.AutoencoderKLFlux2, batch_norm_eps=0.0)
    else:
        vae = _vae(shift_factor=None if family in ("SD2", "SDXL") else 0.06, scaling_factor=1.5)
    vae.save_pretrained(folder / "vae")
    write_prompt(folder / FILE, prompt)
    return folder


def tiny_adapter(
    base: Path, path: Path, scale: float = 0.1, teammates: tuple[str, ...] = TEAMMATES, profile: str = "SD3", **config
) -> Path:
    """A checkpoint for the base with random weights of that scale (0: an untrained team)."""
    frozen = load_base(base)
    team = TeamConfig(teammates, rank=4, profile=profile, base_model=f"tiny/{profile}", **config)
    attach(frozen.network, profile_layers(frozen.network, team.family), team)
    generator = torch.Generator().manual_seed(1)
    for adapter in adapters(frozen.network).values():
        for parameter in adapter.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * scale
    save_checkpoint(path, frozen.network, team)
    return path
