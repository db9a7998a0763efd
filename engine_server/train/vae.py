# SPDX-License-Identifier: GPL-3.0-or-later
"""First stage: a small autoencoder, so that the base works on latents as every larger base does."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderDC

from .config import TrainConfig
from .images import CropSource
from .principal import start_from_components


def gradient_l1(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the two images' horizontal and vertical first differences: keeps edges sharp."""
    return sum((a.diff(dim=d) - b.diff(dim=d)).abs().mean() for d in (2, 3))


class VaeStage:
    """Loss: L1 + half the L1 of the first differences; no adversary, so nothing is invented.

    The latents get a little noise in training, so that the decoder forgives the errors of a denoiser.
    """

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.source = CropSource(config.data, config.crop, config.seed, config.options.get("recolour", 0.5))
        self.vae = AutoencoderDC.from_config(config.network).to(memory_format=torch.channels_last)
        start_from_components(self.vae, self.source.batch(512))
        self.noise = config.options.get("noise", 0.02)

    def parameters(self) -> list[torch.nn.Parameter]:
        """All of the autoencoder's."""
        return list(self.vae.parameters())

    def loss(self) -> torch.Tensor:
        """One batch."""
        images = self.source.batch(self.config.batch).to(memory_format=torch.channels_last)
        latents = self.vae.encode(images).latent
        result = self.vae.decode(latents + self.noise * torch.randn_like(latents)).sample
        return (result - images).abs().mean() + 0.5 * gradient_l1(result, images)

    @torch.no_grad()
    def save(self, folder: Path) -> None:
        """Diffusers layout; the scale factor is measured so that latents have unit mean square."""
        latents = torch.cat([self.vae.encode(self.source.batch(8)).latent for _ in range(16)])
        self.vae.register_to_config(scaling_factor=1 / float(latents.square().mean().sqrt()))
        self.vae.save_pretrained(folder / "vae")

    def state(self) -> dict:
        """The data position."""
        return {"source": self.source.state()}

    def restore(self, state: dict) -> None:
        """Go on from `state`."""
        self.source.restore(state["source"])
