# SPDX-License-Identifier: GPL-3.0-or-later
"""Seconds per step of a bare base, of the team on it, and of a plain dense einsum of the same equation.

The network is of SD3's kind, with random weights. All three run by turns in each round, so that whatever else the machine
is doing meets all of them; a ratio is taken within a round, and the median over rounds is told. All times are those of
one step of all rows: teammates times images. The answers of the team and of the einsum are compared before anything is
timed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from diffusers import SD3Transformer2DModel
from torch import nn

from engine_server.teamwork.config import TeamConfig
from engine_server.teamwork.inject import adapters, attach, profile_layers
from engine_server.teamwork.layers import Adapter, Roster

HEAD, LATENT_CHANNELS, FACTOR = 64, 16, 8
GOAL = 1.12
Step = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Row:
    """Medians over the rounds for so many images: seconds per step, and ratios to the bare base."""

    images: int
    base: float
    team: float
    dense: float
    team_ratio: float
    dense_ratio: float


def main(argv: list[str]) -> int:
    """Measure and print a table; 1 if the team and the einsum do not answer the same."""
    options = parser().parse_args(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    cuda = options.device.startswith("cuda")
    dtype = getattr(torch, options.dtype or ("bfloat16" if cuda else "float32"))
    device = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    print(f"{device}, {str(dtype).removeprefix('torch.')}; {described(options)}")
    network, roster = team(options, torch.device(options.device), dtype)
    rows: list[Row] = []
    print(f"images{'base':>10}{'team':>10}{'dense':>10}{'team / base':>14}{'dense / base':>14}")
    for images in options.images:
        steps = stepping(network, roster, inputs(network, options, images))
        if not same(steps["team"](), steps["dense"](), dtype):
            print("The team and the einsum of its equation differ: one of them is wrong.")
            return 1
        rows.append(row(images, timed(steps, options.repeats, cuda)))
        print("{images:6}{base:9.3f}s{team:9.3f}s{dense:9.3f}s{team_ratio:14.3f}{dense_ratio:14.3f}".format(**asdict(rows[-1])))
    met = all(row.team_ratio <= GOAL for row in rows)
    print(f"Goal, the team at most {GOAL} x the base: {'met' if met else 'not met'}.")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2), "utf-8")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options; small values make a run of seconds, whose ratios say nothing."""
    made = argparse.ArgumentParser(prog="benchmark.py teamwork", description=__doc__.partition("\n")[0])
    made.add_argument("--width", type=int, default=1536, help="of the network, a multiple of 64 (default: 1536)")
    made.add_argument("--layers", type=int, default=2, help="transformer blocks (default: 2)")
    made.add_argument("--rank", type=int, default=64)
    made.add_argument("--teammates", type=int, default=6)
    made.add_argument("--side", type=int, default=256, help="of the pictures, in pixels, a multiple of 16 (default: 256)")
    made.add_argument("--prompt", type=int, default=77, metavar="TOKENS", help="tokens of the prompt (default: 77)")
    made.add_argument("--images", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2, 4], metavar="1,2,4")
    made.add_argument("--repeats", type=int, default=5, help="rounds (default: 5)")
    made.add_argument("--threads", type=int, help="on the CPU (default: as PyTorch chooses)")
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="default: bfloat16 on a GPU, else float32")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    return made


def described(options: argparse.Namespace) -> str:
    """The size of the measurement in words."""
    return (
        f"width {options.width}, {options.layers} layers, {options.teammates} teammates, rank {options.rank}, "
        f"{options.side} x {options.side} pixels, {options.prompt} prompt tokens, median of {options.repeats} rounds"
    )


def team(options: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> tuple[nn.Module, Roster]:
    """A seeded network of SD3's kind with random adapters on the layers of its profile."""
    torch.manual_seed(0)
    heads = options.width // HEAD
    with device:
        network = SD3Transformer2DModel(
            sample_size=options.side // FACTOR, num_layers=options.layers, attention_head_dim=HEAD, num_attention_heads=heads,
            in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS, joint_attention_dim=options.width,
            caption_projection_dim=options.width, pooled_projection_dim=options.width, pos_embed_max_size=options.side // FACTOR,
        )  # fmt: skip
    nn.Module.to(network, dtype).eval()
    names = tuple(f"{chr(97 + i // 26)}{chr(97 + i % 26)}.out" for i in range(options.teammates))
    config = TeamConfig(names, options.rank, "SD3")
    roster = attach(network, profile_layers(network, "SD3"), config, dtype)
    for adapter in adapters(network).values():
        for parameter in adapter.parameters():
            parameter.data.normal_(0, 0.02)
    return network, roster


def inputs(network: nn.Module, options: argparse.Namespace, images: int) -> dict:
    """Random latents, time, prompt tokens and pooled vector for all rows."""
    rows, side = images * options.teammates, options.side // FACTOR
    like = {"device": network.device, "dtype": network.dtype}
    return {
        "hidden_states": torch.randn(rows, LATENT_CHANNELS, side, side, **like),
        "timestep": torch.full((rows,), 500.0, **like),
        "encoder_hidden_states": torch.randn(1, options.prompt, options.width, **like).expand(rows, -1, -1),
        "pooled_projections": torch.randn(1, options.width, **like).expand(rows, -1),
    }


def stepping(network: nn.Module, roster: Roster, given: dict) -> dict[str, Step]:
    """The three ways of one step."""
    everyone = tuple(range(len(roster.config.teammates)))

    @torch.inference_mode()
    def step(working: Callable, dense: bool) -> torch.Tensor:
        hooks = [_densely(layer, adapter) for layer, adapter in _pairs(network)] if dense else []
        try:
            with working():
                return network(**given, return_dict=False)[0]
        finally:
            for hook in hooks:
                hook.remove()

    return {
        "base": partial(step, nullcontext, False),
        "team": partial(step, partial(roster.working, everyone), False),
        "dense": partial(step, nullcontext, True),
    }


def _pairs(network: nn.Module) -> list[tuple[nn.Module, Adapter]]:
    return [(network.get_submodule(path), adapter) for path, adapter in adapters(network).items()]


def _densely(layer: nn.Module, adapter: Adapter) -> torch.utils.hooks.RemovableHandle:
    return layer.register_forward_hook(lambda module, args, y: dense(y, args[0], adapter))


def dense(y: torch.Tensor, x: torch.Tensor, adapter: Adapter) -> torch.Tensor:
    """The equation as it reads: data, parameters gathered for each row, and a matrix of which row belongs to which image.

    x: B x ... x d_in, teammate-major rows as everywhere; y: B x ... x d_out.
    """
    active = adapter.down.shape[0]
    images = x.shape[0] // active
    who = torch.arange(active, device=x.device).repeat_interleave(images)
    member = torch.eye(images, device=x.device, dtype=x.dtype).repeat(active, 1)  # B x I
    h = torch.einsum("b...d,bdr,bi->i...r", x, adapter.down[who], member)
    update = torch.einsum("i...r,bro,bi->b...o", h, adapter.up[who], member)
    bias = adapter.bias[who].reshape(y.shape[0], *[1] * (y.ndim - 2), -1) if adapter.bias is not None else 0
    return y + update + bias


def same(a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether two answers differ by no more than rounding."""
    tolerance = 1e-4 if dtype == torch.float32 else 0.1
    return bool((a.float() - b.float()).abs().max() <= tolerance * b.float().abs().max())


def timed(steps: dict[str, Step], repeats: int, cuda: bool) -> dict[str, list[float]]:
    """Seconds of each way in each round; the order turns from round to round. One step of each comes before the clock."""
    names, seconds = list(steps), {name: [] for name in steps}
    steps["base"]()
    for turn in range(repeats):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            seconds[name].append(_seconds(steps[name], cuda))
    return seconds


def _seconds(step: Step, cuda: bool) -> float:
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def row(images: int, seconds: dict[str, list[float]]) -> Row:
    """Medians of times, and of ratios within a round."""
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratios = (
        statistics.median(a / b for a, b in zip(seconds[name], seconds["base"], strict=True)) for name in ("team", "dense")
    )
    return Row(images, **medians, team_ratio=next(ratios), dense_ratio=next(ratios))
