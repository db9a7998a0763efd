# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a base, loaded by diffusers: network, VAE, scheduler; whole, in half precision, or quantised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors import SafetensorError
from torch import nn

from ..errors import first_line
from ..importing import uncollected
from ..teamwork.config import TeamError
from .base import Base
from .flux import Flux
from .flux2 import Flux2
from .sd3 import SD3
from .unet import unet_kind
from .zimage import ZImage

NETWORKS: dict[str, Callable[[Mapping], type[Base]]] = {
    "SD3Transformer2DModel": lambda config: SD3,
    "FluxTransformer2DModel": lambda config: Flux,
    "Flux2Transformer2DModel": lambda config: Flux2,
    "ZImageTransformer2DModel": lambda config: ZImage,
    "UNet2DConditionModel": unet_kind,
}
"""Which base answers for which diffusers network class, given its configuration."""

VAES = ("AutoencoderKL", "AutoencoderKLFlux2", "AutoencoderDC")
QUANTIZATIONS = {"int8": "torchao", "float8": "torchao", "nf4": "bitsandbytes"}
"""How the weights of a network can be quantised while they are loaded, and the package that does it."""

FAULTS = (
    *(OSError, SafetensorError, ImportError, RuntimeError),
    *(ValueError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError),
)
"""What diffusers raises when it is given files that it cannot make sense of."""


@dataclass(frozen=True)
class Source:
    """Where a base comes from: a diffusers folder or hub name, perhaps at a revision, in a precision.

    `network` replaces the network's weights: a GGUF or safetensors file, or a diffusers folder, perhaps of quantised
    weights. `quantization` is one of `QUANTIZATIONS`.
    """

    place: str
    dtype: torch.dtype = torch.float32
    revision: str | None = None
    network: str | None = None
    quantization: str | None = None

    def recognise(self) -> tuple[str, type[Base], type]:
        """The network's subfolder, the base's class and the network's; raises `TeamError` if it is no base."""
        why: BaseException | None = None
        for subfolder in ("transformer", "unet"):
            try:
                network_class, config = self._class(subfolder, tuple(NETWORKS))
            except OSError as error:
                why = error.__context__  # what the hub's library said; diffusers' own words leave out half of it
                continue
            return subfolder, NETWORKS[network_class.__name__](config), network_class
        raise TeamError(not_there(self.place, why))

    def import_parts(self) -> None:
        """Import the classes of its parts, which takes seconds when it is the first base; no weights are read."""
        self.recognise()
        for subfolder, known in (("vae", VAES), ("scheduler", ())):
            self._class(subfolder, known)

    def load_network(self, subfolder: str, network_class: type) -> nn.Module:
        """The network, with the weights that this source names."""
        options: dict[str, Any] = {"dtype": self.dtype}
        if self.quantization:
            options["quantization_config"] = _quantizer(self.quantization, self.dtype)
        if not self.network:
            options |= {"subfolder": subfolder, "revision": self.revision}
            return network_class.from_pretrained(self.place, use_safetensors=True, **options)
        if Path(self.network).is_dir():
            return network_class.from_pretrained(self.network, use_safetensors=True, **options)
        return self._from_file(self.network, subfolder, network_class, options)

    def _from_file(self, file: str, subfolder: str, network_class: type, options: dict[str, Any]) -> nn.Module:
        if not file.endswith((".gguf", ".safetensors")):
            raise TeamError(f"network is {file!r}; expected a diffusers folder, or a .gguf or .safetensors file.")
        if not Path(file).is_file() and "://" not in file:
            raise TeamError(f"There is no network file {file}.")
        if file.endswith(".gguf"):
            options["quantization_config"] = diffusers.GGUFQuantizationConfig(compute_dtype=self.dtype)
        options |= {"config": self.place, "subfolder": subfolder, "config_revision": self.revision}
        try:
            network = network_class.from_single_file(file, **options)
        except FAULTS as error:
            kind = network_class.__name__
            raise TeamError(f"{file} is not a whole file of weights for a {kind} ({first_line(error)}).") from error
        missing = next((name for name, parameter in network.named_parameters() if parameter.is_meta), None)
        if missing:
            raise TeamError(f"The network file {file} does not fit {self.place}: it has no {missing}.")
        return network

    def load_vae(self) -> nn.Module:
        """The autoencoder."""
        kind = self._class("vae", VAES)[0]
        options = {"dtype": self.dtype, "revision": self.revision}
        return kind.from_pretrained(self.place, subfolder="vae", use_safetensors=True, **options)

    def load_scheduler(self) -> Any:
        """The scheduler."""
        return self._class("scheduler")[0].from_pretrained(self.place, subfolder="scheduler", revision=self.revision)

    @uncollected()  # diffusers imports a class with all that it needs when it is first asked for
    def _class(self, subfolder: str, known: tuple[str, ...] = ()) -> tuple[type, Mapping]:
        """The diffusers class that a subfolder's configuration names, and that; raises `TeamError` if none of `known`."""
        loader = diffusers.DDIMScheduler if subfolder == "scheduler" else diffusers.AutoencoderKL  # for file names only
        config = loader.load_config(self.place, subfolder=subfolder, revision=self.revision)
        name = config.get("_class_name", "")
        if not hasattr(diffusers, name) or (known and name not in known):
            found = name or "network without a name"
            raise TeamError(f"The {subfolder} of {self.place} is a {found}; known: {', '.join(known)}.")
        return getattr(diffusers, name), config


def not_there(place: str, why: BaseException | None) -> str:
    """Why nothing was found at a folder or hub name, given what the hub's library raised for a file of it."""
    kinds = {kind.__name__ for kind in type(why).__mro__}
    if "GatedRepoError" in kinds:
        page = f"https://huggingface.co/{place}"
        return f"{place} needs a token: accept its licence at {page}, then set HF_TOKEN or run `hf auth login` where the engine runs."
    if "RepositoryNotFoundError" in kinds:
        return f"There is no folder {place}, and the hub shows no model of that name; give a diffusers folder, or a hub name (owner/model)."
    if "LocalEntryNotFoundError" in kinds:
        return f"There is no folder {place}, and the hub cannot be reached: check the network, or give a diffusers folder."
    return f"{place} is not a diffusers base: no transformer/config.json or unet/config.json was found there."


def _quantizer(name: str, dtype: torch.dtype) -> Any:
    if name not in QUANTIZATIONS:
        raise TeamError(f"quantization is {name!r}; expected {', '.join(QUANTIZATIONS)}.")
    try:
        if name == "nf4":
            options = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
            return diffusers.BitsAndBytesConfig(load_in_4bit=True, **options)
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

        return diffusers.TorchAoConfig({"int8": Int8WeightOnlyConfig, "float8": Float8WeightOnlyConfig}[name]())
    except ImportError as error:
        package = QUANTIZATIONS[name]
        raise TeamError(f"The quantization {name} needs the package {package}: pip install {package}.") from error
