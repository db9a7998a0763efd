# SPDX-License-Identifier: GPL-3.0-or-later
"""Teamwork: T instances of one frozen diffusion network, coordinated by low-rank layers over all of them.

    from engine_server.teamwork import load_team
    team = load_team("nano")
    maps = team.run({"image": photo}, request=["albedo", "normals"])
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import CheckpointError, RequestError, TeamConfig, TeamError

if TYPE_CHECKING:
    from .team import Team

__all__ = ["CheckpointError", "RequestError", "TeamConfig", "TeamError", "load_team"]


def load_team(
    base: str | Path = "nano",
    adapter: str | Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    **options: Any,
) -> Team:
    """Load a team: a bundled one by its name, or a base (diffusers folder or hub name) with an adapter file.

    `dtype` is "float32", "bfloat16" or "float16". Further options, of the base:

    - `network`: other weights for its network, a GGUF or safetensors file or a diffusers folder, quantised ones included;
    - `quantization`: quantise the network while it is loaded, "int8", "float8" (torchao) or "nf4" (bitsandbytes);
    - `revision`: which version of a hub repository;
    - `offload`: True keeps network, VAE and text encoders on the device only while each works;
    - `vae_tiling`, `vae_slicing`: True saves memory in the VAE;
    - `compile`: True, or a mode of `torch.compile`, compiles the network's blocks when they first run.

    Raises `TeamError` with one sentence that says what is wrong.
    """
    from ..importing import uncollected

    with uncollected():
        from ..diffusion.loading import load_team as load  # diffusers is needed here only, never by the method itself

    return load(base, adapter, device, dtype, **options)
