# SPDX-License-Identifier: GPL-3.0-or-later
"""A team at work: given some channels of an image, it makes any others that were asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .asked import Inpaint, OnStep, Settings, check_periodic, common_size, given_pictures, wanted_channels
from .config import RequestError
from .detail import with_detail
from .known import known_rows
from .layers import Roster
from .manner import Manner, manner_of
from .noise import given_noise, seeded, starting_noise
from .pictures import as_picture, pad, to_pictures, to_pixels
from .views import averaged, views

if TYPE_CHECKING:
    from ..diffusion.base import Base
    from ..diffusion.keeping import Keep
    from ..diffusion.periodic import PeriodicCoder
    from ..diffusion.tiling import Tiled

Pictures = Mapping[str, np.ndarray]
Answer = dict[str, np.ndarray]


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
    predictions over shifted patch grids. One that was trained for few steps alone takes no more than `most_steps` (0: any number).
    An albedo that is made from an image in a single step gets the share `detail` of that image's fine detail (see `with_detail`).
    The channels `always` are made in every run, as others are made in their rows; without being wanted they are not handed out.
    `settings` are the facts of its `team.json`, from which `manner` reads what is
    different for some tasks.
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
        most_steps: int = 0,
        always: Sequence[str] = (),
        detail: float = 0.0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.base, self.roster, self.config = base, roster, roster.config
        self.default_steps, self.native_size, self.fingerprint = default_steps, native_size, fingerprint
        self.zero_start, self.tile, self.lapped = zero_start, tile, lapped
        self.turns, self.shifts, self.most_steps, self.always = turns, shifts, most_steps, tuple(always)
        self.detail, self.settings = detail, settings or {}

    def manner(self, task: str) -> Manner:
        """How the team goes about a task. Raises `TeamError` if its facts are not as expected."""
        return manner_of({**self.settings, "default_steps": self.default_steps, "zero_start": self.zero_start}, task)

    @property
    def teammates(self) -> tuple[str, ...]:
        """All teammates, in the checkpoint's order."""
        return self.config.teammates

    @torch.no_grad()
    def run(
        self,
        images: Pictures | Sequence[Pictures],
        request: str | Iterable[str] = "all",
        *,
        steps: int | None = None,
        solver: str | None = None,
        seed: int = 0,
        noise: Pictures | Sequence[Pictures] | None = None,
        width: int | None = None,
        height: int | None = None,
        prompt: str | Sequence[str] = "",
        negative_prompt: str | None = None,
        guidance: float | None = None,
        encoding: str = "mode",
        periodic: bool = False,
        zero_start: bool | None = None,
        inpaint: Inpaint | None = None,
        on_step: OnStep | None = None,
    ) -> Answer | list[Answer]:
        """Make the requested channels.

        `images` maps channels to H x W x 3 (or H x W) pictures of one size, float in 0..1 or uint8, in the model's
        encoding (display-encoded colour, n * 0.5 + 0.5 normals); it may be empty if `width` and `height` are given.
        `request` names the wanted channels, or is "all" for every output that the team has. `noise` replaces the seeded
        noise of channels (arrays of latent shape, unit variance; for several images stacked, or a list of mappings).
        `on_step(done, total, preview)` is called after each step; what it raises ends it. Returns `{channel: H x W x 3 in 0..1}`.

        `solver` is "euler", "heun" (which asks the network twice a step, and counts so) or "dpm++", all with trailing
        spacing of the timesteps; without one the base keeps the schedule that its teams were released with.

        `prompt` is for all teammates of an image; bases with text encoders load them when there is one. `guidance` is the
        scale of classifier-free guidance, 1 being none (the default), away from `negative_prompt` or no prompt; it doubles
        the rows. FLUX.1-dev (3.5 by default) and FLUX.2-dev (4) take it as an input of their network instead, and no negative prompt.

        `periodic`: opposite borders of the given pictures meet, and those of the answers shall; sides are multiples of
        `base.multiple`. The network then sees each picture in at least four pieces.

        `zero_start` replaces the team's own. `inpaint` says which parts of wanted channels are known; its mask has their size.

        `encoding` "mode" takes the likeliest latents of given pictures; "sample" draws them by the VAE's posterior.

        A sequence of such mappings, all with the same channels and size, is made in one batch and answered as a list;
        the image at index i then takes the seed `seed + i`, and its own prompt if `prompt` is a list.

        Raises `RequestError` if a channel is not the team's (the sentence lists those it has), or sizes or steps do not fit.
        """
        from ..diffusion.guidance import Wording

        wanted, wording = wanted_channels(self.config, request), Wording(prompt, negative_prompt, guidance)
        steps = self._steps(steps)
        level = 0.0 if (self.zero_start if zero_start is None else zero_start) and steps == 1 else 1.0
        frame = inpaint.mask.shape[1::-1] if inpaint and width is None else (width, height)
        settings = Settings(steps, wording, solver, seed, noise or {}, *frame, encoding, periodic, level, inpaint, on_step)
        several = not isinstance(images, Mapping)
        shown = images if several else [images]
        once = noise or inpaint or several or steps > 1 or not images or max(self.turns, self.shifts) == 1
        made = (self._made if once else self._averaged)(shown, wanted, settings)
        results = [self._detailed(*each, settings) for each in zip(shown, made, strict=True)]
        return results if several else results[0]

    def _detailed(self, images: Pictures, answer: Answer, settings: Settings) -> Answer:
        if not self.detail or settings.steps > 1 or "albedo" not in answer or "image" not in images:
            return answer
        photo = as_picture("image", images["image"])
        return answer | {"albedo": with_detail(answer["albedo"], photo, self.detail, settings.periodic)}

    def _steps(self, asked: int | None) -> int:
        steps = self.default_steps if asked is None else asked
        if self.most_steps and steps > self.most_steps:
            raise RequestError(f"steps is {steps}; this team was trained for at most {self.most_steps}, and makes noise of more.")
        return steps

    def _averaged(self, images: Sequence[Pictures], wanted: list[str], settings: Settings) -> list[Answer]:
        """The mean answer over several views of the one image, one step each; the views count as steps."""
        seen, on_step = views(self.turns, self.shifts, self.base.factor), settings.on_step

        def answer(pictures: Pictures, view: int) -> Answer:
            report = on_step and (lambda done, total, preview: on_step(view * total + done, len(seen) * total, preview))
            return self._made([pictures], wanted, dataclasses.replace(settings, on_step=report))[0]

        return [averaged(images[0], seen, answer, settings.periodic)]

    def _made(self, images: Sequence[Pictures], wanted: list[str], settings: Settings) -> list[Answer]:
        given = [given_pictures(self.config, entry) for entry in images]
        size = common_size(given, settings.width, settings.height)
        if settings.periodic:
            check_periodic(size, self.base.multiple)
        order = self._order(given[0], [*wanted, *self.always])
        outputs = self._names(order, ".out")
        start = self._start(size, outputs, len(given), settings)
        keep = self._keep(outputs, start, size, settings) if settings.inpaint else None
        latents = self._sample(order, given, start, settings, keep)
        pictures = self._decode(latents.transpose(0, 1).flatten(0, 1), size, settings.periodic)
        count = len(outputs)
        answers = [dict(zip(outputs, pictures[i * count : (i + 1) * count], strict=True)) for i in range(len(given))]
        return [{name: picture for name, picture in answer.items() if name in wanted} for answer in answers]

    def _sample(
        self, order: tuple[int, ...], given: list[Pictures], start: torch.Tensor, settings: Settings, keep: Keep | None
    ) -> torch.Tensor:
        from ..diffusion.guidance import direct
        from ..diffusion.sampling import Cast, sample

        directed = direct(self.base, settings.wording, len(given))
        clean = self._encode(self._names(order, ".in"), given, settings)
        cast = Cast(tuple(self.teammates[i].endswith(".in") for i in order))
        conditions = directed.conditions(len(order), *(n * self.base.factor for n in start.shape[-2:]))
        generators = self._generators(self._names(order, ".out"), "step", len(given), settings)
        base, on_step = directed.around(self._tiled(settings.periodic), len(order)), settings.on_step
        report = on_step and (lambda done, total, preview: on_step(done, total, lambda: to_pictures(preview())[0]))
        with self.roster.working(order):
            return sample(base, cast, clean, start, conditions, settings.steps, report, settings.solver, keep, generators)

    def _keep(self, names: list[str], start: torch.Tensor, size: tuple[int, int], settings: Settings) -> Keep:
        """What is known of the wanted rows, encoded; a row of which nothing is known is made anew as a whole."""
        from ..diffusion.keeping import Keep, cells

        asked = settings.inpaint
        known, mask = known_rows(asked, names, size)
        clean = torch.zeros_like(start)
        for row, name in enumerate(names):
            if name in known:
                clean[row] = self._encode([name], [known], settings)[0].to(start)
        anew = cells(pad(torch.from_numpy(mask)[None, None], self.base.multiple)[0, 0], self.base.factor)
        rows = [anew if name in known else torch.ones_like(anew) for name in names]
        again = self._generators(names, "again", start.shape[1], settings)
        return Keep(clean, torch.stack(rows)[:, None, None].to(start), start, asked.repeats, again)

    @staticmethod
    def _generators(names: list[str], use: str, images: int, settings: Settings) -> list[torch.Generator]:
        """One for each row, the images of a channel together; what each draws depends on its channel, its image's seed and the use."""
        return [seeded(f"{name}, {use}", settings.seed + i) for name in names for i in range(images)]

    def _tiled(self, periodic: bool) -> Tiled:
        from ..diffusion.tiling import Tiled

        side = self.native_size // self.base.factor if self.tile and self.native_size else None
        return Tiled(self.base, side=side, lapped=self.lapped, periodic=periodic)

    def _names(self, order: tuple[int, ...], side: str) -> list[str]:
        """Channels of the active teammates of one side, `.in` or `.out`, in order."""
        return [self.teammates[i].removesuffix(side) for i in order if self.teammates[i].endswith(side)]

    def _order(self, given: Iterable[str], wanted: Iterable[str]) -> tuple[int, ...]:
        active = {f"{name}.in" for name in given} | {f"{name}.out" for name in wanted}
        return tuple(i for i, name in enumerate(self.teammates) if name in active)

    def _start(self, size: tuple[int, int], names: list[str], images: int, settings: Settings) -> torch.Tensor:
        """W x I x C x h x w noise of the wanted channels of each image."""
        shape = (self.base.channels, *(-(-side // self.base.multiple) * self.base.patch for side in size))
        noise = given_noise(settings.noise, images)
        rows = [starting_noise(names, settings.seed + i, shape, noise[i], settings.level) for i in range(images)]
        return torch.stack(rows, dim=1).to(self.base.device)

    def _encode(self, names: list[str], given: list[Pictures], settings: Settings) -> torch.Tensor:
        """G x I x C x h x w latents of the given channels of each image; all images go through the VAE in one batch."""
        if not names:
            return torch.empty(0)
        pixels = pad(to_pixels([pictures[name] for name in names for pictures in given]), self.base.multiple)
        seeds = [seeded(f"{name}.in", settings.seed + i) for name in names for i in range(len(given))]
        latents = self._coder(settings.periodic).encode(pixels, seeds if settings.encoding == "sample" else None)
        return latents.float().unflatten(0, (len(names), -1))

    def _decode(self, latents: torch.Tensor, size: tuple[int, int], periodic: bool) -> np.ndarray:
        return to_pictures(self._coder(periodic).decode(latents))[:, : size[0], : size[1]]

    def _coder(self, periodic: bool) -> Base | PeriodicCoder:
        from ..diffusion.periodic import PeriodicCoder

        return PeriodicCoder(self.base) if periodic else self.base
