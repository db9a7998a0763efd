# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is asked for, checked: channels, pictures, sizes, and the settings that go with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .config import RequestError, TeamConfig
from .pictures import as_picture

if TYPE_CHECKING:
    from ..diffusion.guidance import Wording

OnStep = Callable[[int, int, Callable[[], np.ndarray]], None]
LONGEST = 1000
WIDEST = 2**20
"""No side of a picture has more pixels: sizes beyond are mistakes, and overflow."""
ENCODINGS = ("mode", "sample")
HOLLOW = 0.5
"""What a team that looks at masks is given for the unknown part of a channel, in its own encoding."""


@dataclass(frozen=True)
class Inpaint:
    """What is known of wanted channels: `known` pictures, H x W x 3 in the model's encoding, and a `mask`, H x W, more than 0
    where they are made anew. Known pictures shall hold nothing in the masked part that may not show through at its border.
    `repeats`: how often each step is taken (more fit better, and take longer)."""

    known: Mapping[str, np.ndarray]
    mask: np.ndarray
    repeats: int = 1


@dataclass(frozen=True)
class Settings:
    """The settings of one run, as `Team.run` describes them; `level` is what the starting noise is multiplied with."""

    steps: int
    wording: Wording
    solver: str | None = None
    seed: int = 0
    noise: Mapping[str, np.ndarray] | Sequence[Mapping[str, np.ndarray]] = field(default_factory=dict)
    width: int | None = None
    height: int | None = None
    encoding: str = "mode"
    periodic: bool = False
    level: float = 1.0
    inpaint: Inpaint | None = None
    on_step: OnStep | None = None

    def __post_init__(self) -> None:
        from ..diffusion.solvers import SOLVERS

        if not 1 <= self.steps <= LONGEST:
            raise RequestError(f"steps is {self.steps}; expected 1 to {LONGEST}.")
        if self.solver is not None and self.solver not in SOLVERS:
            raise RequestError(f"The solver is {self.solver!r}; expected {', '.join(SOLVERS)}.")
        if self.encoding not in ENCODINGS:
            raise RequestError(f"encoding is {self.encoding!r}; expected {' or '.join(ENCODINGS)}.")


def wanted_channels(config: TeamConfig, request: str | Iterable[str]) -> list[str]:
    """The output channels that a request names, each once; raises `RequestError` for one that the team does not make."""
    outputs = config.outputs
    names = list(outputs) if request == "all" else [request] if isinstance(request, str) else list(request)
    names = list(dict.fromkeys(name.removesuffix(".out") for name in names))
    for name in names:
        if name not in outputs:
            raise RequestError(f"This team cannot make {name!r}; it makes {', '.join(outputs)}.")
    if not names:
        raise RequestError(f"No channel was requested; this team makes {', '.join(outputs)}.")
    return names


def given_pictures(config: TeamConfig, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Given channels as pictures; raises `RequestError` for one that the team does not take."""
    given = {name.removesuffix(".in"): value for name, value in images.items()}
    for name in given:
        if name not in config.inputs:
            takes = ", ".join(config.inputs) or "no images"
            raise RequestError(f"This team cannot be given {name!r}; it takes {takes}.")
    return {name: as_picture(name, value) for name, value in given.items()}


def common_size(
    given: Sequence[Mapping[str, np.ndarray]], width: int | None = None, height: int | None = None
) -> tuple[int, int]:
    """Height and width of the pictures of all images, or those that were asked for; raises `RequestError` if they differ."""
    if not given or any(set(pictures) != set(given[0]) for pictures in given):
        raise RequestError("The images of a batch differ in their channels; give each the same, and at least one image.")
    sizes = [(name, *picture.shape[:2]) for pictures in given for name, picture in pictures.items()]
    if len({entry[1:] for entry in sizes}) > 1:
        listed = ", ".join(f"{name} {w} x {h}" for name, h, w in sizes)
        raise RequestError(f"The given pictures differ in size ({listed}); give all in one size.")
    size = tuple(sizes[0][1:]) if sizes else (height, width)
    if None in size or min(size) < 1:
        raise RequestError("Without a given picture, width and height must be given, in pixels.")
    if max(size) > WIDEST:
        raise RequestError(f"The picture is to be {size[1]} x {size[0]} pixels; expected at most {WIDEST} on a side.")
    return size


def check_periodic(size: tuple[int, int], multiple: int) -> None:
    """Raises `RequestError` if a picture of this height and width cannot tile: whole patches have to."""
    if any(side % multiple for side in size):
        height, width = size
        raise RequestError(f"A periodic picture has sides that are multiples of {multiple}, not {width} x {height}.")
