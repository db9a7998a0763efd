# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads a base from a diffusers folder or hub name, and puts a team on it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch

from ..errors import first_line
from ..teamwork.adapters import BUNDLED, TEAM_FILE, own_adapter, team_folder
from ..teamwork.checkpoint import load_checkpoint, read_checkpoint
from ..teamwork.config import CheckpointError, TeamConfig, TeamError
from ..teamwork.manner import settings_of
from ..teamwork.team import Team
from .base import Base
from .components import FAULTS, Source
from .placement import check_mode, compile_blocks, offload, save_vae_memory
from .prompts import TextEncoders, empty_prompt, facts_of, has_text_encoders
from .words import FILE as WORDS
from .words import read_words


def bundled_teams() -> list[str]:
    """Names of the teams that come with this package."""
    return sorted(p.parent.name for p in BUNDLED.glob(f"*/{TEAM_FILE}"))


def import_bundled() -> None:
    """Import what the bundled teams need, without loading them: seconds, but for the first time only."""
    for name in bundled_teams():
        Source(str(BUNDLED / name / "base")).import_parts()


def load_team(
    base: str | Path = "nano",
    adapter: str | Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    **options: Any,
) -> Team:
    """Load a team: a bundled one by its name, a team's folder, or a base (folder or hub name) with an adapter file.

    A team's folder holds `base/`, `team.safetensors`, `team.json` and perhaps more adapters, which `adapter` names by their
    file, and more bases, where team.json says which adapter is for which. A path with a folder part, `./team.safetensors`,
    is a file of the user's for the team's base. `dtype` is float32, bfloat16 or float16. `options`
    are those of `load_base`. Raises `TeamError` (a ValueError) with a sentence that says what is wrong.
    """
    precision = getattr(torch, dtype, None)
    if precision not in (torch.float32, torch.bfloat16, torch.float16):
        raise TeamError(f"dtype is {dtype!r}; expected float32, bfloat16 or float16.")
    _check_device(device)
    base, adapter, settings = _resolved(str(base), adapter)
    checkpoint = read_checkpoint(adapter)
    kind = _recognised(Source(str(base), precision, options.get("revision")))[1]
    if checkpoint.config.family != kind.family:
        made_for = " ".join(filter(None, (checkpoint.config.family, checkpoint.config.base_model)))
        raise CheckpointError(f"{checkpoint.path} was made for {made_for}, but {base} is a {kind.family} base.")
    frozen = load_base(base, device, precision, **options)
    roster = load_checkpoint(frozen.network, checkpoint, precision, frozen.name)
    with open(adapter, "rb") as file:
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    facts = {name: settings[name] for name in ("default_steps", "zero_start", "tile") if name in settings}
    own = {name: settings.get(name, {}) for name in ("turns", "shifts", "lapped", "most_steps", "always", "detail")}
    facts |= {name: value[Path(adapter).name] for name, value in own.items() if Path(adapter).name in value}
    facts |= {"settings": settings}
    return Team(frozen, roster, native_size=_native_size(checkpoint.config, settings), fingerprint=fingerprint, **facts)


def _native_size(config: TeamConfig, settings: dict) -> int | None:
    """The side of the pictures that an adapter was trained on, as its metadata ("256x256") or else the team's facts say."""
    sides = re.fullmatch(r"\s*(\d{1,5})\s*x\s*(\d{1,5})\s*", config.resolution, re.ASCII | re.IGNORECASE)
    return max(map(int, sides.groups())) if sides else settings.get("native_size")


def _check_device(device: str) -> None:
    """Raise `TeamError` if this computer has no such device."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise TeamError(f"The device {device!r} is not there ({first_line(error)}); cpu always is.") from error


def _resolved(base: str, adapter: str | Path | None) -> tuple[str | Path, str | Path, dict]:
    """The base, the adapter's file and the settings that `load_team` was asked for."""
    folder = team_folder(base)
    if folder:
        file = (own_adapter(folder, adapter) or Path(adapter)) if adapter else folder / TEAM_FILE
        settings = settings_of(folder / "team.json")
        return folder / settings.get("bases", {}).get(file.name, "base"), file, settings
    if adapter is None:
        names = ", ".join(bundled_teams()) or "none"
        raise TeamError(f"There is no bundled team {base!r} (there are: {names}); for another base give adapter=, too.")
    return base, adapter, {}


def load_base(
    source: str | Path,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    network: str | Path | None = None,
    quantization: str | None = None,
    revision: str | None = None,
    offload: bool = False,
    vae_tiling: bool = False,
    vae_slicing: bool = False,
    compile: bool | str = False,
) -> Base:
    """Load the network, VAE and scheduler of a base (a diffusers folder, or a hub name at a `revision`), and its empty prompt.

    `network` replaces the network's weights: a GGUF or safetensors file, or a diffusers folder. `quantization` quantises
    them while they are loaded: "int8", "float8" (torchao) or "nf4" (bitsandbytes, needs a GPU). With `offload` the parts
    are on the device only while they work; `vae_tiling` and `vae_slicing` save memory in the VAE. `compile` compiles the
    network's blocks: True, or a mode of `torch.compile`.

    Raises `TeamError` if the folder is not a diffusers base, is cut short, or is of a kind that is not known.
    """
    check_mode(compile)
    place = Source(str(source), dtype, revision, network and str(network), quantization)
    recognised = _recognised(place)
    try:
        made = _assembled(place, recognised, device, offload)
    except TeamError:
        raise
    except FAULTS as error:
        raise TeamError(f"The base {source} cannot be loaded: {first_line(error)}") from error
    save_vae_memory(made, vae_tiling, vae_slicing)
    compile_blocks(made, compile)
    return made


def _recognised(source: Source) -> tuple[str, type[Base], type]:
    try:
        return source.recognise()
    except TeamError:
        raise
    except FAULTS as error:
        raise TeamError(f"The base {source.place} cannot be loaded: {first_line(error)}") from error


def _check_channels(base: Base) -> None:
    """Raise `TeamError` for a network that is given more beside the noise, as those for inpainting or depth are."""
    if base.taken != base.channels:
        raise TeamError(
            f"The network of {base.name} takes latents of {base.taken} channels, and its VAE makes {base.channels}: it was made "
            "for inpainting or the like, and a team needs the base that makes pictures from text alone."
        )


def _assembled(source: Source, recognised: tuple[str, type[Base], type], device: str, sparing: bool) -> Base:
    subfolder, kind, network_class = recognised
    facts = facts_of(source.place, source.revision)
    encoders = TextEncoders(kind, source.place, device, source.dtype, source.revision) if has_text_encoders(facts) else None
    prompt = empty_prompt(source.place, encoders)  # before the rest: text encoders are large
    network, vae = source.load_network(subfolder, network_class), source.load_vae()
    quantized = getattr(network, "is_quantized", False) or bool(source.quantization)
    parts = (network, vae) if sparing else (network.to(device), vae.to(device))
    place = {"device": device if sparing else None, "dtype": source.dtype if quantized else None}
    base = kind(*parts, source.load_scheduler(), prompt, source.place, **place)
    _check_channels(base)
    words = Path(source.place) / WORDS
    base.encode_prompts = read_words(words, prompt.to("cpu", torch.float32)) if words.is_file() else encoders
    base.take(facts)
    if sparing:
        offload(base, device)
    return base
