# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs tasks on one device: keeps teams warm, and tries a job that ran out of memory once more, in parts."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

from blender_addon.wire import Submit

from .abilities import INPAINT, SYNTHESIZE, obstacle, refusal
from .device import device_memory, give_back
from .errors import TaskError
from .failures import is_out_of_memory
from .importing import uncollected
from .inpainting import Inpainting
from .library import Located, Unavailable, able, locate, located
from .models import is_team
from .needs import Need, advice, in_words, need_of
from .synthesis import Synthesis
from .tasks import USUAL_SIDE, Task, outputs_of, task_of
from .team_run import Answer, OnStep, Run
from .teamwork import TeamError
from .teamwork.team import Team
from .warm import WarmTeams

log = logging.getLogger(__name__)

RUNS = {SYNTHESIZE: Synthesis, INPAINT: Inpainting}
"""The tasks that take another way than from channels to channels."""
THRIFTY = "made in parts, because memory ran out at first: VAE in tiles and slices"


class TaskRunner:
    """Runs tasks on one device and keeps teams warm, within `warm_bytes` (0: a share of the device's memory).

    A job that runs out of memory is tried once more in parts; then it fails with what would fit.
    """

    def __init__(self, device: str = "cpu", warm_bytes: int = 0) -> None:
        self.device, self.warm = device, WarmTeams(device, warm_bytes)
        self._too_large: dict[Located, int] = {}

    def prepare(self) -> None:
        """Import what the bundled teams need, without loading them."""
        with uncollected():
            from .diffusion.loading import import_bundled  # imports diffusers

        import_bundled()

    def run(self, job: Submit, on_step: OnStep) -> Answer:
        """Run one job; returns its output channels and what should be remembered of it (seed, steps, model, seconds, and of
        those the `computing` of the network ...).

        `on_step(step, total, preview)` is called after each denoising step; what it raises ends the run. Raises
        `TaskError` with a code and a sentence for every mistake of the job.
        """
        started = time.monotonic()
        task = task_of(job)
        outputs = outputs_of(task, job)
        place = _located(job.model, job.task)
        try:
            answer, info = self._tried(attempt := _Attempt(task, job, outputs, place, on_step))
        except TeamError as error:
            raise TaskError("bad-request", str(error)) from error
        info |= {"model": job.model, "seconds": round(time.monotonic() - started, 3), "loading": round(attempt.loading, 3)}
        return answer, info

    def _tried(self, attempt: _Attempt) -> Answer:
        """The attempt's answer, at once or, after running out of memory, in parts."""
        if attempt.load < self._too_large.get(attempt.place, attempt.load + 1):
            answer = self._run(attempt, thrifty=False)
            if answer is not None:
                return answer
            if attempt.team is None and self.device == "cpu" and len(self.warm) == 0:
                raise attempt.failure(self.device)  # the model alone is too large, and there is nowhere to put a part of it
            log.warning("out of memory: another attempt, in parts")
            self._too_large[attempt.place] = attempt.load
        attempt.team = None
        self.unload()
        answer = self._run(attempt, thrifty=True)
        if answer is None:
            raise attempt.failure(self.device)
        answer[1]["memory"] = THRIFTY + ("" if self.device == "cpu" else ", idle parts off the device")
        return answer

    def _run(self, attempt: _Attempt, thrifty: bool) -> Answer | None:
        """The attempt's answer; None if memory ran out. By then nothing of it is held any more."""
        started = time.monotonic()
        try:
            attempt.team = self.warm.get(attempt.place, attempt.job.model, thrifty)
            attempt.loading += time.monotonic() - started
            return attempt.run()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            log.warning("%s", error)
            return None

    def unload(self) -> None:
        """Let the warm teams go."""
        self.warm.clear()


@dataclass
class _Attempt:
    """A job, and what is known about how far it came: the team when it was loaded; its rows and their size, as told by the
    job at first, and as the run counts them once the pictures are prepared, which can run out of memory itself."""

    task: Task
    job: Submit
    outputs: tuple[str, ...]
    place: Located
    on_step: OnStep
    team: Team | None = None
    need: Need | None = None
    rows: int = 0
    loading: float = 0.0
    size: tuple[int, int] = (0, 0)

    @property
    def load(self) -> int:
        """A measure of the job's size: its channels times their pixels."""
        rows, (height, width) = self._told()
        return rows * height * width

    def _told(self) -> tuple[int, tuple[int, int]]:
        """Channels and the largest one's (height, width), as the job names them; what is not told, or is no number, counts as usual."""
        sizes = [image.data.shape[:2] for image in self.job.inputs.values()]
        asked = (self.job.options.get(name) for name in ("height", "width"))
        usual = tuple(int(side) if isinstance(side, (int, float)) and 1 <= side < math.inf else USUAL_SIDE for side in asked)
        return len(self.job.inputs) + len(self.outputs), max(sizes, key=math.prod, default=usual)

    def run(self) -> Answer:
        """Run it on its team."""
        self.need = need_of(self.team)
        self._check_ability()
        self.rows, self.size = self._told()
        run = RUNS.get(self.task.name, Run)(self.task, self.team, self.job)
        self.rows, self.size = run.rows(self.outputs), run.fit.working
        answer, info = run.run(self.outputs, self.on_step)
        return answer, info | {"model_hash": self.team.fingerprint, "computing": round(run.labour.seconds, 3)}

    def _check_ability(self) -> None:
        name, task = self.job.model, self.task.name
        why = obstacle(task, self.team.teammates, self.team.manner(task)) if task in RUNS else ""
        if why:
            raise TaskError("unable", refusal(name, task, why, able(task)))

    def failure(self, device: str) -> TaskError:
        """What to tell after memory ran out for good."""
        self.team = None
        give_back(device)
        free, name = device_memory(device)[0], self.job.model
        if not self.rows:
            sentence = f"The model {name} does not fit into the memory of {device}: {in_words(free)} are free; use a smaller one."
        else:
            height, width = self.size
            tried = f"The task {self.task.name} ran out of memory with {self.rows} channels of {width} x {height} pixels, also in parts"
            sentence = f"{tried}: {advice(self.need, self.rows, height, width, free)}"
        return TaskError("out-of-memory", sentence)


def _located(model: str, task: str) -> Located:
    """Where a model is, given by its name or as a team's folder."""
    own = Path(model).is_absolute() and is_team(Path(model))
    try:
        return located(Path(model), task) if own else locate(model, task)
    except Unavailable as error:
        raise TaskError(error.code, str(error)) from error
