# SPDX-License-Identifier: GPL-3.0-or-later
"""No result is lost: those of a Blender that was closed or crashed come back, and one that cannot land becomes images."""

from __future__ import annotations

from functools import partial

import bpy

from . import landing, spaces
from .engine import LINK
from .job import JOBS, RUNNING, Job
from .ledger import Entry, Ledger
from .wire import JobInfo, Result, Submit


class State:
    """The ledger of this Blender, opened when it is first used, and the jobs that wait for the user's word."""

    ledger: Ledger | None = None
    offered: list[Entry] = []


def ledger() -> Ledger:
    """The ledger of this Blender."""
    if State.ledger is None:
        State.ledger = Ledger()
    return State.ledger


def note(job: Job) -> None:
    """Leave word of a job that was just sent."""
    options, told = job.submit.options, getattr(job.land, "keywords", {})
    numbers = {name: int(options.get(name, 0)) for name in ("seed", "steps", "size")}
    names = {name: str(told.get(name) or "") for name in ("name", "source")}
    names["name"] = names["name"] or job.title
    task, model = job.submit.task, job.submit.model
    again = {"operator": job.operator, "settings": job.settings}
    ledger().note(Entry(job.job_id, LINK.engine_key, bpy.data.filepath, job.title, task, model, **names, **numbers, **again))


def done(job: Job) -> None:
    """The job has ended, and nothing of it is in the engine any more."""
    if State.ledger is not None:
        State.ledger.forget(job.job_id)


def on_listed(listed: tuple[JobInfo, ...]) -> None:
    """The engine says what it holds: fetch what belongs to this file, offer what belongs to others, forget the rest."""
    held = {info.job_id for info in listed}
    ours = {job.job_id for job in JOBS if job.state == RUNNING}
    State.offered = []
    for entry in ledger().left_behind():
        if entry.engine != LINK.engine_key or entry.job_id in ours:
            continue
        if entry.job_id not in held:
            ledger().forget(entry.job_id)
        elif entry.blend and entry.blend == bpy.data.filepath:
            adopt(entry)
        else:
            State.offered.append(entry)


def adopt(entry: Entry) -> Job:
    """Follow a job of an earlier Blender as one of ours."""
    options = {"seed": entry.seed, "steps": entry.steps, "size": entry.size}
    submit = Submit(entry.job_id, entry.task, entry.model, {}, (), options)
    land = partial(_land, name=entry.name, source=entry.source)
    job = Job(submit, entry.title, land, line="Fetching", operator=entry.operator, settings=entry.settings)
    JOBS[:] = [each for each in JOBS if each.job_id != entry.job_id]
    JOBS.append(job)
    LINK.session.working = spaces.working()
    LINK.session.fetch(entry.job_id)
    return job


def fetch_offered() -> int:
    """Fetch all results that wait; gives their number."""
    offered, State.offered = State.offered, []
    for entry in offered:
        adopt(entry)
    return len(offered)


def forget_offered() -> None:
    """Let the engine drop them."""
    offered, State.offered = State.offered, []
    for entry in offered:
        LINK.session.acknowledge(entry.job_id)
        ledger().forget(entry.job_id)


def _land(result: Result, job: Job, *, name: str, source: str) -> str:
    """As the task would have, but on no object: that may be another one by now."""
    land = landing.LANDERS.get(job.submit.task, landing.land_parts)
    return f"From earlier: {land(result, job, name=name, source=source)}"


def rescue(result: Result, job: Job) -> str:
    """The images of a result that could not land as what it was meant to be; gives a line about them."""
    told = getattr(job.land, "keywords", {})
    return landing.land_parts(result, job, name=str(told.get("name") or job.title), source=str(told.get("source") or ""))


def close() -> None:
    """Leave what is not fetched to the next Blender."""
    if State.ledger is not None:
        State.ledger.close()
    State.ledger, State.offered = None, []
