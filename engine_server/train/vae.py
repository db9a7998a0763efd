# SPDX-License-Identifier: GPL-3.0-or-later
"""First stage: a small autoencoder, so that the base works on latents as every larger base does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderDC

from ..whole import whole_folder
from .config import TrainConfig
from .errors import ConfigError
from .images import CropSource
from .options import options_of
from .principal import start_from_components
from .ranks import Ranks
from .seeds import seeds


def gradient_l1(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the two images' horizontal and vertical first differences: keeps edges sharp."""
    return sum((a.diff(dim=d) - b.diff(dim=d)).abs().mean() for d in (2, 3))


class VaeStage:
    """Loss: L1 + half the L1 of the first differences; no adversary, so nothing is invented.

    The latents get a little noise in training, so that the decoder forgives the errors of a denoiser.
    """

    def __init__(self, config: TrainConfig, ranks: Ranks | None = None, say: Callable[[str], None] = print) -> None:
        torch.manual_seed(config.seed)
        self.config, self.options = config, options_of(config)
        self.device = ranks.device if ranks else torch.device("cpu")
        if not config.network:
            raise ConfigError("[network] is empty; describe the autoencoder there, as diffusers' AutoencoderDC takes it.")
        self.source = CropSource(config.data, config.crop, config.seed, self.options.recolour)
        self.vae = AutoencoderDC.from_config(config.network).to(memory_format=torch.channels_last)
        if config.crop % (factor := 2 ** (len(self.vae.encoder.down_blocks) - 1)):
            raise ConfigError(f"crop is {config.crop}; this autoencoder takes multiples of {factor} pixels.")
        start_from_components(self.vae, self.source.batch(512))
        self.vae.to(self.device)

    def parameters(self) -> list[torch.nn.Parameter]:
        """All of the autoencoder's."""
        return list(self.vae.parameters())

    def loss(self, number: int) -> torch.Tensor:
        """One batch."""
        random = seeds(self.config.seed, number)
        self.source.random = random.choices
        images = self.source.batch(self.config.batch).to(self.device, memory_format=torch.channels_last)
        latents = self.vae.encode(images).latent
        noise = torch.randn(latents.shape, generator=random.noise).to(latents)
        result = self.vae.decode(latents + self.options.noise * noise).sample
        return (result - images).abs().mean() + 0.5 * gradient_l1(result, images)

    @torch.no_grad()
    def save(self, folder: Path) -> None:
        """Diffusers layout; the scale factor is measured so that latents have unit mean square."""
        self.source.random = seeds(self.config.seed, 0, stream=1).choices
        crops = (self.source.batch(8).to(self.device) for _ in range(16))
        latents = torch.cat([self.vae.encode(crop).latent for crop in crops])
        self.vae.register_to_config(scaling_factor=1 / float(latents.square().mean().sqrt()))
        with whole_folder(folder / "vae") as place:
            self.vae.save_pretrained(place)
