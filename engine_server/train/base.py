# SPDX-License-Identifier: GPL-3.0-or-later
"""Second stage: the base, a small SD3-type transformer that models single pictures in the VAE's latent space."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel

from ..diffusion.base import Prompt
from ..diffusion.prompts import FILE, write_prompt
from ..diffusion.sd3 import SD3
from .config import TrainConfig
from .flow import draw_sigmas, flow_loss, noised
from .images import CropSource


def new_base(config: TrainConfig) -> SD3:
    """A fresh base on the trained VAE at `config.base`, with one zero token as its only prompt."""
    torch.manual_seed(config.seed)
    network = SD3Transformer2DModel.from_config(config.network)
    vae = AutoencoderDC.from_pretrained(config.base, subfolder="vae")
    prompt = Prompt(
        torch.zeros(1, 1, config.network["joint_attention_dim"]), torch.zeros(1, config.network["pooled_projection_dim"])
    )
    return SD3(network, vae, FlowMatchEulerDiscreteScheduler(shift=config.options.get("shift", 1.0)), prompt)


def save_base(base: SD3, folder: Path) -> None:
    """Write a base in diffusers layout, its empty prompt included."""
    base.network.save_pretrained(folder / "transformer")
    base.vae.save_pretrained(folder / "vae")
    base.template.save_pretrained(folder / "scheduler")
    write_prompt(folder / FILE, base.prompt)


class BaseStage:
    """Flow matching on crops of pictures of every kind: photos, albedo, normals, masks.

    The crops are encoded once into a pool of latents, `options.pool` of them, since the VAE would cost as much as the
    transformer.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.base = new_base(config)
        self.base.network.requires_grad_(True).train()
        self.pool = self._encode_pool(config.options.get("pool", 4000))
        self.random = torch.Generator().manual_seed(config.seed)

    def _encode_pool(self, count: int, batch: int = 25) -> torch.Tensor:
        share = self.config.options.get("recolour", 0.5)
        source = CropSource(self.config.data, self.config.crop, self.config.seed, share)
        return torch.cat([self.base.encode(source.batch(batch)) for _ in range(-(-count // batch))])

    def parameters(self) -> list[torch.nn.Parameter]:
        """All of the transformer's that see the picture (the last block's text side sees none)."""
        return list(self.base.network.parameters())

    def loss(self) -> torch.Tensor:
        """One batch from the pool."""
        chosen = torch.randint(len(self.pool), (self.config.batch,), generator=self.random)
        clean = self.pool[chosen]
        noise = torch.randn(clean.shape, generator=self.random)
        sigma = draw_sigmas(len(clean), self.config.options.get("start_share", 0.2), self.random)
        conditions = self.base.conditions(len(clean), self.config.crop, self.config.crop)
        velocity = self.base.predict(noised(clean, noise, sigma[:, None, None, None]), sigma * 1000, conditions)
        return flow_loss(velocity, clean, noise)

    def save(self, folder: Path) -> None:
        """The whole base in diffusers layout."""
        save_base(self.base, folder)

    def state(self) -> dict:
        """The random stream."""
        return {"random": self.random.get_state()}

    def restore(self, state: dict) -> None:
        """Go on from `state`."""
        self.random.set_state(state["random"])
