# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory bases take beside their weights, for the engine's estimates (`engine_server/needs.toml`). Linux only.

Networks of the released width with few layers and random weights (a layer's features are gone before the next one's are
made, so few layers take as much as many), with the adapters of a team, in single precision on the CPU. Each size is run in
a process of its own; what counts is how far its resident memory rises above what it was before.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from engine_server.diffusion.base import Base, Prompt
from engine_server.diffusion.components import NETWORKS
from engine_server.needs import _vae_width, _width
from engine_server.teamwork.config import TeamConfig
from engine_server.teamwork.inject import attach, profile_layers

RANK = 64
NETWORK_SIZES = ((2, 256), (4, 256), (2, 512), (4, 512), (8, 512))
VAE_SIZES = ((1, 128), (2, 128), (1, 192), (1, 256))
UNET = {"block_out_channels": (320, 640, 1280), "layers_per_block": 2, "norm_num_groups": 32}
FAMILIES: dict[str, tuple[str, dict, tuple[int, int | None, int | None]]] = {
    "SD2": (
        "UNet2DConditionModel",
        UNET | {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20), "use_linear_projection": True}
        | {"down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")}
        | {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")},
        (1024, None, None),
    ),
    "SDXL": (
        "UNet2DConditionModel",
        UNET | {"cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20), "use_linear_projection": True}
        | {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")}
        | {"up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")}
        | {"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816},
        (2048, 1280, None),
    ),
    "SD3": (
        "SD3Transformer2DModel",
        {"sample_size": 128, "num_layers": 2, "num_attention_heads": 24, "in_channels": 16, "out_channels": 16}
        | {"joint_attention_dim": 4096, "caption_projection_dim": 1536, "pooled_projection_dim": 2048, "pos_embed_max_size": 192},
        (4096, 2048, None),
    ),
    "FLUX": (
        "FluxTransformer2DModel",
        {"num_layers": 1, "num_single_layers": 1, "guidance_embeds": True},
        (4096, 768, 3),
    ),
    "FLUX2": (
        "Flux2Transformer2DModel",
        {"num_layers": 1, "num_single_layers": 1, "num_attention_heads": 24, "joint_attention_dim": 7680},
        (7680, None, None),
    ),
    "ZIMAGE": ("ZImageTransformer2DModel", {"n_layers": 1, "n_refiner_layers": 1}, (2560, None, None)),
}  # fmt: skip
"""The network class of each family, what it is made with, and its prompt: width, pooled width, axes of text ids."""
TOKENS = 77


def main(argv: list[str]) -> int:
    """Measure and print the file's content; with --child, one size of one part."""
    parser = argparse.ArgumentParser(prog="benchmark.py memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=(*FAMILIES, "AutoencoderKL", "AutoencoderDC"), help="measure one part")
    parser.add_argument("--child", nargs=3, metavar=("PART", "ROWS", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        part, rows, side = options.child
        print(*measured(part, int(rows), int(side)))
        return 0
    for part in [options.only] if options.only else [*FAMILIES, "AutoencoderKL", "AutoencoderDC"]:
        print(fitted(part), flush=True)
    return 0


def fitted(part: str) -> str:
    """A line of the file: the least squares fit of bytes = fixed + per_width * width * units."""
    seen = [child(part, *size) for size in (NETWORK_SIZES if part in FAMILIES else VAE_SIZES)]
    units, peaks = (np.array(column, np.float64) for column in zip(*seen, strict=True))
    slope, fixed = np.polyfit(units, peaks, 1)
    off = np.abs(slope * units + fixed - peaks).max() / peaks.max()
    group = "network" if part in FAMILIES else "vae"
    return f"{group}.{part} = {{ fixed = {max(0, fixed):.0f}, per_width = {slope:.2f} }}  # off by {off:.0%} at most"


def child(part: str, rows: int, side: int) -> tuple[float, float]:
    """Units and bytes of one size, measured in a new process."""
    command = [sys.executable, "scripts/benchmark.py", "memory", "--child", part, str(rows), str(side)]
    allocator = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    said = subprocess.run(command, env=os.environ | allocator, capture_output=True, text=True, check=True).stdout
    units, peak = map(float, said.split()[-2:])
    print(f"# {part}: {rows} rows of {side} x {side}: {peak / 1e6:.0f} MB", file=sys.stderr, flush=True)
    return units, peak


def measured(part: str, rows: int, side: int) -> tuple[float, float]:
    """Width times tokens (pixels for a VAE) times rows, and the bytes that one pass takes."""
    torch.manual_seed(0)
    work, units = (network_pass if part in FAMILIES else vae_pass)(part, rows, side)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from now on
    with torch.inference_mode():
        work()
    return units, status("VmHWM") - before


def status(name: str) -> int:
    """A line of this process's status, in bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def network_pass(part: str, rows: int, side: int) -> tuple[Callable[[], object], float]:
    """One step of a team's rows through the network, and its size."""
    base, roster = team(part, rows)
    cells, patch = side // 8, 1 if part in ("SD2", "SDXL") else base.patch
    latents = torch.randn(rows, base.channels, cells, cells)
    conditions = base.conditions(rows, side, side)

    def work() -> object:
        with roster.working(tuple(range(rows))):
            return base.predict(latents, torch.tensor(500.0), conditions)

    return work, float(_width(base.network.config) * (cells // patch) ** 2 * rows)


def team(part: str, rows: int) -> tuple[Base, object]:
    """A base of the family with the adapters of so many teammates."""
    import diffusers

    kind, config, (width, pooled, axes) = FAMILIES[part]
    network = getattr(diffusers, kind)(**config)
    ids = torch.zeros(TOKENS, axes) if axes else None
    prompt = Prompt(torch.randn(1, TOKENS, width), torch.randn(1, pooled) if pooled else None, ids)
    base = NETWORKS[kind](network.config)(network, tiny_vae(part), scheduler(part), prompt)
    names = tuple(f"{chr(97 + i)}.out" for i in range(rows))
    return base, attach(network, profile_layers(network, part), TeamConfig(names, RANK, part))


def tiny_vae(part: str) -> nn.Module:
    """An autoencoder that says how many channels latents have and how large their cells are."""
    import diffusers

    blocks = {"block_out_channels": (8,) * 4, "norm_num_groups": 4, "layers_per_block": 1}
    blocks |= {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    if part == "FLUX2":
        return diffusers.AutoencoderKLFlux2(**blocks, latent_channels=32)
    return diffusers.AutoencoderKL(**blocks, latent_channels=4 if part in ("SD2", "SDXL") else 16)


def scheduler(part: str) -> object:
    """One of the family's kind."""
    import diffusers

    return diffusers.EulerDiscreteScheduler() if part in ("SD2", "SDXL") else diffusers.FlowMatchEulerDiscreteScheduler()


def vae_pass(part: str, rows: int, side: int) -> tuple[Callable[[], object], float]:
    """The decoding of so many rows, which takes more than encoding them, and its size."""
    import diffusers

    if part == "AutoencoderDC":
        place = Path(__file__).resolve().parents[2] / "engine_server" / "bundled" / "nano" / "base"
        vae = diffusers.AutoencoderDC.from_pretrained(place, subfolder="vae")
        cells, channels = side // vae.spatial_compression_ratio, vae.config.latent_channels
    else:
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        vae = diffusers.AutoencoderKL(**blocks, block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=16)
        cells, channels = side // 8, 16
    vae.eval().to(memory_format=torch.channels_last)
    latents = torch.randn(rows, channels, cells, cells)
    return lambda: vae.decode(latents), float(_vae_width(vae.config) * side**2 * rows)
