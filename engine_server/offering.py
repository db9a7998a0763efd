# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine offers its clients, tasks and models, and whether a job asks for one of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from blender_addon.wire import CatalogueEntry, Failed, ProtocolError, Submit

from .abilities import TASKS as MODEL_TASKS
from .abilities import INPAINT, SYNTHESIZE, refusal
from .hub.offers import offers
from .library import Entry, Unavailable, able, entries, listed, locate, usable
from .models import one_line

log = logging.getLogger(__name__)

GET_MODEL = "get-model"
TASKS = (*MODEL_TASKS, "echo", GET_MODEL)
MODEL_FREE_TASKS = ("echo",)


def unfit(submit: Submit, folders: Sequence[Path]) -> Failed | None:
    """Why the job cannot be taken, if the engine has no such task or model; `folders` are the user's."""
    if submit.task not in TASKS:
        return Failed(submit.job_id, "unknown-task", f"There is no task {submit.task!r}; there are {', '.join(TASKS)}.")
    if submit.task == GET_MODEL and submit.model not in offers():
        sentence = f"The model {submit.model[:64]!r} cannot be fetched; what can is {', '.join(offers())}."
        return Failed(submit.job_id, "unknown-model", sentence)
    try:
        if submit.task not in (*MODEL_FREE_TASKS, GET_MODEL):
            locate(submit.model, submit.task, folders)
    except Unavailable as error:
        return Failed(submit.job_id, error.code, str(error))
    return _beyond(submit, folders) if submit.task in (SYNTHESIZE, INPAINT) else None


def _beyond(submit: Submit, folders: Sequence[Path]) -> Failed | None:
    """What a model cannot do that others can, told before anything is loaded; of models outside the lists the worker tells."""
    info = next((each for each in usable(folders) if each.name == submit.model), None)
    if info is None or submit.task in info.tasks:
        return None
    why = "it was not made for that"
    return Failed(submit.job_id, "unable", refusal(submit.model, submit.task, why, able(submit.task, folders)))


def catalogue(folders: Sequence[Path]) -> tuple[CatalogueEntry, ...]:
    """All models that are here or could be fetched, as many as one message holds; the log tells which cannot be listed."""
    return tuple(listed([line for entry in entries(folders).values() if (line := _listed(entry))]))


def _listed(entry: Entry) -> CatalogueEntry | None:
    try:
        return _to_wire(entry)
    except ProtocolError as error:
        log.warning("%s is left out: %s", entry.name, error)
        return None


def _to_wire(entry: Entry) -> CatalogueEntry:
    return CatalogueEntry(
        name=entry.name,
        kind=entry.kind,
        place=entry.place.replace(" ", "-"),
        title=one_line(entry.title),
        licence=one_line(entry.licence),
        base=one_line(entry.base),
        size_bytes=entry.size_bytes,
        memory_bytes=entry.memory_bytes,
        token=entry.token,
        page=entry.offer.page if entry.offer else "",
    )
