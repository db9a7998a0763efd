# SPDX-License-Identifier: GPL-3.0-or-later
"""What the table [options] of a training configuration may hold, stage by stage."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .config import TrainConfig, build
from .errors import ConfigError


@dataclass(frozen=True)
class VaeOptions:
    """`recolour`: the share of crops that get another colouring; `noise`: how much noise latents get before decoding."""

    recolour: float = 0.5
    noise: float = 0.02


@dataclass(frozen=True)
class BaseOptions:
    """`pool`: how many crops are encoded; `start_share`: of noise levels that are exactly 1; `shift`: of the scheduler."""

    pool: int = 4000
    start_share: float = 0.2
    shift: float = 1.0
    recolour: float = 0.5


@dataclass(frozen=True)
class TeamOptions:
    """How a team meets its samples.

    `keep` is the share of batches with all channels that their samples have; the others get random subsets.
    `offset_noise` is the strength of the noise that all cells of a latent channel share; `start_share` the share of noise
    levels at their highest; with `zero_start` the noise there is zero (see `Team`). `weighting` weighs noise levels:
    "sigma_sqrt" (x0 by sigma^-2), "unit" (x0 by 1) or "auto", as published for the base. `emphasis` weighs channels against
    each other. `sizes` lists pairs of crop and batch, from which each batch takes one (empty: the run's own); pictures smaller than
    that, but not than the smallest of them, are taken whole. `start` is a
    checkpoint whose teammates of the same names the team starts from; `latents` the file of encoded pictures (empty:
    beside the result). `network`, `quantization` and `revision` say how the base is loaded (see `load_team`); `saved` is the
    precision of the adapter's file. `measure` says how errors of latent channels count: "latents" alike, "pixels" by how much
    each changes the picture. `error` is "square", or "rmse", the mean of the roots of each picture's mean square. `teacher` is
    the folder of a run of the stage "estimate": where a batch is given just what that was, the team learns its answers.
    """

    keep: float = 0.5
    offset_noise: float = 0.1
    start_share: float = 0.0
    zero_start: bool = False
    weighting: str = "auto"
    emphasis: dict[str, float] = field(default_factory=dict)
    sizes: tuple[tuple, ...] = ()
    start: str = ""
    latents: str = ""
    network: str = ""
    quantization: str = ""
    revision: str = ""
    saved: str = "float32"
    measure: str = "latents"
    error: str = "square"
    teacher: str = ""


@dataclass(frozen=True)
class JointOptions:
    """`teams`: TOML files of the teams that train together with their base; `shares`: how often each is drawn (empty: alike).

    `shift` is that of a fresh base's scheduler.
    """

    teams: tuple[str, ...]
    shares: tuple[float, ...] = ()
    shift: float = 1.0


@dataclass(frozen=True)
class EstimateOptions:
    """`emphasis`, `sizes`, `latents` and `error` as in `TeamOptions`; `shift` is that of a fresh base's scheduler.

    In a share `known` of pictures, channels that a set has both as given and as wanted are given with a chance of `GIVEN`.
    """

    emphasis: dict[str, float] = field(default_factory=dict)
    sizes: tuple[tuple, ...] = ()
    latents: str = ""
    error: str = "square"
    shift: float = 1.0
    known: float = 0.0


@dataclass(frozen=True)
class UnisonOptions:
    """`teammates` are those of the team to come, `hub` the wanted one whose row does the work of all.

    `wanted` says how often a channel is wanted (1 where it is not named), `holes` and `given` in what share of pictures parts are to be
    filled or channels are given; in all others nothing is. Errors outside a hole count `outside`. `spread` is the deviation of the
    latents of a fresh base: below 1, more of the noise levels are so high that they hide what is large. Where samples have words, each
    is left out in a share `unsaid` of pictures, and all of them in `untold`; `guidance` is what the base then says of classifier-free
    guidance. `sizes`, `latents`, `emphasis` and `start_share` as in `TeamOptions`.
    """

    teammates: tuple[str, ...]
    hub: str
    wanted: dict[str, float] = field(default_factory=dict)
    holes: float = 0.35
    given: float = 0.2
    outside: float = 0.1
    spread: float = 1.0
    unsaid: float = 0.3
    untold: float = 0.12
    guidance: float = 3.0
    emphasis: dict[str, float] = field(default_factory=dict)
    sizes: tuple[tuple, ...] = ()
    latents: str = ""
    start_share: float = 0.0


Options = VaeOptions | BaseOptions | EstimateOptions | UnisonOptions | TeamOptions | JointOptions
KINDS: dict[str, type] = {
    "vae": VaeOptions,
    "base": BaseOptions,
    "estimate": EstimateOptions,
    "unison": UnisonOptions,
    "team": TeamOptions,
    "joint": JointOptions,
}

SHARES = {
    "vae": ("recolour",),
    "base": ("recolour", "start_share"),
    "estimate": ("known",),
    "unison": ("holes", "given", "unsaid", "untold", "start_share"),
    "team": ("keep", "start_share"),
}
"""The options of each stage that are shares, from 0 to 1."""


def options_of(config: TrainConfig) -> Options:
    """The options of the configured stage; raises `ConfigError` for one that it does not have."""
    options = build(KINDS[config.stage], config.options, f"[options] of the stage {config.stage}")
    _check_all(options)
    _check_shares(options, *SHARES.get(config.stage, ()))
    if isinstance(options, TeamOptions):
        _check(options)
    if isinstance(options, JointOptions):
        _check_joint(options)
    if isinstance(options, UnisonOptions):
        _check_unison(options)
    return options


def _check_all(options: Options) -> None:
    """What several stages have, or one of few options."""
    if getattr(options, "error", "square") not in ("square", "rmse"):
        raise ConfigError(f"options.error is {options.error!r}; expected square or rmse.")
    sizes = getattr(options, "sizes", ())
    if not all(len(pair) == 2 and all(isinstance(n, int) and n > 0 for n in pair) for pair in sizes):
        raise ConfigError(f"options.sizes is {sizes!r}; expected pairs of crop and batch, such as [[256, 2], [512, 1]].")
    if isinstance(options, BaseOptions) and options.pool < 1:
        raise ConfigError(f"options.pool is {options.pool!r}; expected how many crops are encoded, such as 4000.")
    if not getattr(options, "shift", 1.0) > 0:
        raise ConfigError(f"options.shift is {options.shift!r}; expected a number above 0, mostly 1 to 3.")


def _check_unison(options: UnisonOptions) -> None:
    if options.hub not in (made := [n for n in options.teammates if n.endswith(".out")]):
        raise ConfigError(f"options.hub is {options.hub!r}; expected one of {', '.join(made)}.")
    if not 0 < options.spread < math.inf:
        raise ConfigError(f"options.spread is {options.spread!r}; expected a number above 0, mostly 0.2 to 1.")
    for name, share in options.wanted.items():
        if f"{name}.out" not in made:
            raise ConfigError(f"options.wanted names {name!r}, which is no output; the outputs are {', '.join(made)}.")
        if not 0 <= share <= 1:
            raise ConfigError(f"options.wanted has {share} for {name}; expected a number from 0 to 1.")
    if options.outside < 0:
        raise ConfigError(f"options.outside is {options.outside!r}; expected 0 or more.")


def _check_joint(options: JointOptions) -> None:
    if not options.teams:
        raise ConfigError("options.teams is empty; list the TOML files of the teams that train with the base.")
    if options.shares and len(options.shares) != len(options.teams):
        raise ConfigError(f"options.shares has {len(options.shares)} numbers; expected one for each of the {len(options.teams)} teams.")
    if any(share < 0 for share in options.shares) or (options.shares and not sum(options.shares)):
        raise ConfigError("options.shares holds a number below 0, or only zeros; expected at least one above 0.")


def _check(options: TeamOptions) -> None:
    if options.weighting not in ("auto", "sigma_sqrt", "unit"):
        raise ConfigError(f"options.weighting is {options.weighting!r}; expected auto, sigma_sqrt or unit.")
    if options.measure not in ("latents", "pixels"):
        raise ConfigError(f"options.measure is {options.measure!r}; expected latents or pixels.")
    if options.saved not in ("float32", "bfloat16", "float16"):
        raise ConfigError(f"options.saved is {options.saved!r}; expected float32, bfloat16 or float16.")


def _check_shares(options: Options, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(options, name) <= 1:
            raise ConfigError(f"options.{name} is {getattr(options, name)!r}; expected a number from 0 to 1.")
