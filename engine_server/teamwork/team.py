# SPDX-License-Identifier: GPL-3.0-or-later
"""A team at work: given some channels of an image, it makes any others that were asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .config import RequestError
from .layers import Roster
from .pictures import as_picture, pad, to_pictures, to_pixels
from .views import averaged, views

if TYPE_CHECKING:
    from ..diffusion.base import Base
    from ..diffusion.tiling import Tiled

OnStep = Callable[[int, int, Callable[[], np.ndarray]], None]


class Team:
    """T teammates on one frozen base.

    `teammates` are all names in order; `default_steps` is the number of denoising steps that `run` takes when it is not
    told one; `native_size` is the picture side that the team was trained for, if known; `fingerprint` identifies the
    adapter's weights.

    A team with `zero_start` takes a single step from the mean of the noise, zero, as it was trained to: where the noise
    hides everything, the best answer does not depend on it (as in Martin Garcia et al., arXiv 2409.11355). The seed then
    matters from two steps on. A team with `tile` makes pictures that are larger than its native size of tiles of that size,
    because its base has learnt no other positions. With `turns` or `shifts` above 1 a single step on one image is averaged over
    so many quarter turns or small shifts of it (see `views`), unless noise is given. A team that is `lapped` averages its
    predictions over shifted patch grids.
    """

    def __init__(
        self,
        base: Base,
        roster: Roster,
        default_steps: int = 50,
        native_size: int | None = None,
        fingerprint: str = "",
        zero_start: bool = False,
        tile: bool = False,
        turns: int = 1,
        shifts: int = 1,
        lapped: bool = False,
    ) -> None:
        self.base, self.roster, self.config = base, roster, roster.config
        self.default_steps, self.native_size, self.fingerprint = default_steps, native_size, fingerprint
        self.zero_start, self.tile, self.lapped = zero_start, tile, lapped
        self.turns, self.shifts = turns, shifts

    @property
    def teammates(self) -> tuple[str, ...]:
        """All teammates, in the checkpoint's order."""
        return self.config.teammates

    @torch.no_grad()
    def run(
        self,
        images: Mapping[str, np.ndarray] | Sequence[Mapping[str, np.ndarray]],
        request: str | Iterable[str] = "all",
        *,
        steps: int | None = None,
        solver: str | None = None,
        seed: int = 0,
        noise: Mapping[str, np.ndarray] | None = None,
        width: int | None = None,
        height: int | None = None,
        on_step: OnStep | None = None,
    ) -> dict[str, np.ndarray] | list[dict[str, np.ndarray]]:
        """Make the requested channels.

        `images` maps channels to H x W x 3 (or H x W) pictures of one size, float in 0..1 or uint8, in the model's
        encoding (display-encoded colour, n * 0.5 + 0.5 normals); it may be empty if `width` and `height` are given.
        `request` names the wanted channels, or is "all" for every output that the team has. `noise` replaces the seeded
        noise of the channels it names (arrays of latent shape, unit variance). `on_step(done, total, preview)` is called
        after each step; what it raises ends the run. Returns `{channel: H x W x 3 float32 in 0..1}`.

        `solver` is "euler", "heun" (which asks the network twice a step, and counts so) or "dpm++", all with trailing
        spacing of the timesteps; without one the base keeps the schedule that its teams were released with.

        A sequence of such mappings, all with the same channels and size, is made in one batch and answered as a list;
        the image at index i then takes the seed `seed + i`.

        Raises `RequestError` if a channel is not the team's (the sentence lists those it has) or the sizes do not fit.
        """
        wanted, steps, solver = self._wanted(request), self._steps(steps), _known_solver(solver)
        several = not isinstance(images, Mapping)
        entries = images if several else [images]
        if max(self.turns, self.shifts) > 1 and steps == 1 and not noise and not several and images:
            return self._averaged(images, wanted, seed, on_step, solver)
        results = self._made(entries, wanted, steps, seed, noise or {}, on_step, width, height, solver)
        return results if several else results[0]

    def _averaged(
        self, images: Mapping[str, np.ndarray], wanted: list[str], seed: int, on_step: OnStep | None, solver: str | None
    ) -> dict[str, np.ndarray]:
        """The mean answer over several views of the images, one step each; the views count as steps."""
        seen = views(self.turns, self.shifts, self.base.multiple)

        def answer(pictures: Mapping[str, np.ndarray], view: int) -> dict[str, np.ndarray]:
            report = on_step and (lambda done, total, preview: on_step(view * total + done, len(seen) * total, preview))
            return self._made([pictures], wanted, 1, seed, {}, report, solver=solver)[0]

        return averaged(images, seen, answer)

    def _made(
        self,
        images: Sequence[Mapping[str, np.ndarray]],
        wanted: list[str],
        steps: int,
        seed: int,
        noise: Mapping[str, np.ndarray],
        on_step: OnStep | None,
        width: int | None = None,
        height: int | None = None,
        solver: str | None = None,
    ) -> list[dict[str, np.ndarray]]:
        given = [self._pictures(entry) for entry in images]
        size = self._size(given, width, height)
        order = self._order(given[0], wanted)
        outputs = self._names(order, ".out")
        level = 0.0 if self.zero_start and steps == 1 else 1.0
        starts = [self._noise(size, outputs, seed + i, noise, level) for i in range(len(given))]
        latents = self._sample(order, given, torch.stack(starts, dim=1), steps, on_step, solver)
        return [self._decode(latents[:, i], outputs, size) for i in range(len(given))]

    def _sample(
        self,
        order: tuple[int, ...],
        given: list[dict[str, np.ndarray]],
        start: torch.Tensor,
        steps: int,
        on_step: OnStep | None,
        solver: str | None,
    ) -> torch.Tensor:
        from ..diffusion.sampling import Cast, sample

        names = self._names(order, ".in")
        clean = [self._encode([pictures[name] for name in names]) for pictures in given]
        cast = Cast(tuple(self.teammates[i].endswith(".in") for i in order))
        conditions = self.base.conditions(len(order) * len(given), *(n * self.base.factor for n in start.shape[-2:]))
        report = on_step and (lambda done, total, preview: on_step(done, total, lambda: to_pictures(preview())[0]))
        with self.roster.working(order):
            return sample(self._tiled(), cast, torch.stack(clean, dim=1), start, conditions, steps, report, solver)

    def _tiled(self) -> Tiled:
        from ..diffusion.tiling import Tiled

        side = self.native_size // self.base.factor if self.tile and self.native_size else None
        return Tiled(self.base, side=side, lapped=self.lapped)

    def _names(self, order: tuple[int, ...], side: str) -> list[str]:
        """Channels of the active teammates of one side, `.in` or `.out`, in order."""
        return [self.teammates[i].removesuffix(side) for i in order if self.teammates[i].endswith(side)]

    def _steps(self, steps: int | None) -> int:
        steps = steps or self.default_steps
        if not 1 <= steps <= 1000:
            raise RequestError(f"steps is {steps}; expected 1 to 1000.")
        return steps

    def _wanted(self, request: str | Iterable[str]) -> list[str]:
        outputs = self.config.outputs
        names = list(outputs) if request == "all" else [request] if isinstance(request, str) else list(request)
        names = list(dict.fromkeys(name.removesuffix(".out") for name in names))
        for name in names:
            if name not in outputs:
                raise RequestError(f"This team cannot make {name!r}; it makes {', '.join(outputs)}.")
        if not names:
            raise RequestError(f"No channel was requested; this team makes {', '.join(outputs)}.")
        return names

    def _pictures(self, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {name.removesuffix(".in"): value for name, value in images.items()}
        for name in given:
            if name not in self.config.inputs:
                takes = ", ".join(self.config.inputs) or "no images"
                raise RequestError(f"This team cannot be given {name!r}; it takes {takes}.")
        return {name: as_picture(name, value) for name, value in given.items()}

    def _size(self, given: list[dict[str, np.ndarray]], width: int | None, height: int | None) -> tuple[int, int]:
        if not given or any(set(pictures) != set(given[0]) for pictures in given):
            raise RequestError("The images of a batch differ in their channels; give each the same, and at least one image.")
        sizes = [(name, *picture.shape[:2]) for pictures in given for name, picture in pictures.items()]
        if len({entry[1:] for entry in sizes}) > 1:
            listed = ", ".join(f"{name} {w} x {h}" for name, h, w in sizes)
            raise RequestError(f"The given pictures differ in size ({listed}); give all in one size.")
        size = tuple(sizes[0][1:]) if sizes else (height, width)
        if None in size or min(size) < 1:
            raise RequestError("Without a given picture, width and height must be given, in pixels.")
        return size

    def _order(self, given: Iterable[str], wanted: Iterable[str]) -> tuple[int, ...]:
        active = {f"{name}.in" for name in given} | {f"{name}.out" for name in wanted}
        return tuple(i for i, name in enumerate(self.teammates) if name in active)

    def _encode(self, pictures: list[np.ndarray]) -> torch.Tensor:
        if not pictures:
            return torch.empty(0)
        return self.base.encode(pad(to_pixels(pictures), self.base.multiple)).float()

    def _noise(
        self, size: tuple[int, int], names: list[str], seed: int, given: Mapping[str, np.ndarray], level: float
    ) -> torch.Tensor:
        cells = [-(-side // self.base.multiple) * self.base.patch for side in size]
        shape = (self.base.channels, *cells)
        unknown = [name for name in given if name not in names]
        if unknown:
            raise RequestError(f"Noise was given for {unknown[0]!r}, which is not requested.")
        rows = [_given_noise(n, given[n], shape) if n in given else level * seeded_noise(n, seed, shape) for n in names]
        return torch.stack(rows).to(self.base.device)

    def _decode(self, latents: torch.Tensor, names: list[str], size: tuple[int, int]) -> dict[str, np.ndarray]:
        pictures = to_pictures(self.base.decode(latents))[:, : size[0], : size[1]]
        return dict(zip(names, pictures, strict=True))


def _known_solver(solver: str | None) -> str | None:
    from ..diffusion.solvers import SOLVERS

    if solver is not None and solver not in SOLVERS:
        raise RequestError(f"The solver is {solver!r}; expected {', '.join(SOLVERS)}.")
    return solver


def seeded_noise(name: str, seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Unit Gaussian noise that depends on the channel's name and the seed alone.

    So a channel comes out of the same noise whatever else is requested beside it.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randn(shape, generator=generator)


def _given_noise(name: str, value: np.ndarray, shape: tuple[int, ...]) -> torch.Tensor:
    value = torch.as_tensor(np.asarray(value, dtype=np.float32))
    value = value[0] if value.ndim == 4 and value.shape[0] == 1 else value
    if value.shape != shape:
        raise RequestError(f"The noise for {name} has the shape {tuple(value.shape)}; expected {shape}.")
    return value
