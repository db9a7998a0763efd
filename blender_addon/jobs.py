# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of this Blender: handed to the engine, followed by a timer, and landed on the main thread.

`tick` is the timer's function, `drain` its work. Background mode has no event loop, so that `wait` drains instead.
"""

from __future__ import annotations

import logging
import time
import uuid

import bpy

from . import arrival, expectation, history, previews, recovery, setting_up, spaces
from .arrival import ARRIVED, Arrival
from .engine import LINK
from .events import Connected, Event, JobDone, JobEnded, JobProgress, Listed, Lost, Unloaded
from .job import CANCELLED, DONE, FAILED, JOBS, RUNNING, Job, Land, running
from .session import Session
from .wire import ChannelImage, Result, Submit

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
TURN_SECONDS = 0.01
"""Between two turns of what lands: Blender draws and listens to the user in between."""
CANCEL_SECONDS = 3.0
"""So long a cancelled job may take to end, where that is waited for."""
HISTORY = 20
STROKES = ("PAINT_", "SCULPT_", "GREASE_PENCIL_", "GPENCIL_", "TRANSFORM_", "MESH_", "CURVE_", "CURVES_", "PARTICLE_", "UV_")
"""What operators are called, at first, that go on while the user draws or drags, and then are one step of undo."""
SHOWS_JOBS = dict.fromkeys(("VIEW_3D", "IMAGE_EDITOR", "NODE_EDITOR"), ("UI",)) | {"PREFERENCES": ("WINDOW",)}

def start(
    task: str, model: str, inputs: dict[str, ChannelImage], outputs: tuple[str, ...], options: dict, title: str, land: Land
) -> Job:
    """Send a job to the engine and follow it. Raises `EngineError` if there is none, `WireError` if it cannot be sent."""
    drain()  # what a session has said that is over, and replaced now
    if not running():
        LINK.follow_preferences()
    session = LINK.get()
    job = Job(Submit(uuid.uuid4().hex, task, model, inputs, outputs, options), title, land)
    LINK.unloaded, session.working = None, spaces.working()
    session.submit(job.submit)
    _remember_ended()
    JOBS.append(job)
    recovery.note(job)
    follow()
    return job


def follow() -> None:
    """Have the timer take what the engine says, until nothing more is waited for. Loading a file does not end it."""
    if not bpy.app.background and not bpy.app.timers.is_registered(tick):
        bpy.app.timers.register(tick, first_interval=TICK_SECONDS, persistent=True)


def _remember_ended() -> None:
    """Keep all jobs that run, and the last of those that have ended."""
    kept = [job for job in JOBS if job.state != RUNNING][-HISTORY:]
    JOBS[:] = [job for job in JOBS if job.state == RUNNING or job in kept]


def cancel(job: Job) -> None:
    """Ask for a job's end; it ends with the engine's answer."""
    if LINK.session is not None:
        LINK.session.cancel(job.job_id)


def tick() -> float | None:
    """Take what the engine has said; None when there is nothing more to wait for, so that the timer ends."""
    if not bpy.app.background and (bpy.app.is_job_running("RENDER") or _in_a_stroke()):
        return TICK_SECONDS  # results wait in the queue: a render must not see datablocks come and go
    drain()
    if setting_up.running():
        _redraw()
        return TICK_SECONDS
    if ARRIVED:
        return TURN_SECONDS
    return TICK_SECONDS if running() or LINK.waiting or _set_up_ended() else None


def _in_a_stroke() -> bool:
    """Is the user painting, say? Blender's own undo step for that has begun, and one of ours must not come in between."""
    windows = bpy.context.window_manager.windows
    return any(each.bl_idname.startswith(STROKES) for window in windows for each in getattr(window, "modal_operators", ()))


def _set_up_ended() -> bool:
    """Has a set-up just ended? Then it is shown once more."""
    ended = setting_up.take_end()
    if ended:
        _redraw()
    return ended


def drain() -> None:
    """Act on the events of the session that wait, and let what has arrived land, one image at a time. A session that is
    over leaves no job running."""
    session = LINK.session
    over = session is None or not session.alive  # asked before the events are taken: its last ones come first
    events = session.drain() if session is not None else []
    for event in events:
        _on_event(event)
    landed = _next_turn()
    if over and not events and not landed:
        _end_orphans()
    if events or landed:
        _redraw()


def wait(job: Job, timeout: float) -> None:
    """Wait for a job's end, for scripts and render farms; after `timeout` seconds it is cancelled and has failed."""
    deadline = time.monotonic() + timeout
    while job.state == RUNNING and time.monotonic() < deadline:
        drain()
        if not ARRIVED:
            time.sleep(0.01)
    if job.state == RUNNING:
        _give_up(job, f"The engine did not finish within {timeout:.0f} s; the job was cancelled. Give it more time.")


def _give_up(job: Job, sentence: str) -> None:
    """Cancel a job that nobody waits for any more, and see to it that the engine keeps nothing of it; a process in background mode
    may end right after this."""
    job.given_up = True
    cancel(job)
    job.end(FAILED, sentence)
    deadline = time.monotonic() + CANCEL_SECONDS
    while job.given_up and time.monotonic() < deadline and LINK.session is not None and LINK.session.alive:
        drain()
        time.sleep(0.01)


def _on_event(event: Event) -> None:
    if isinstance(event, Connected):
        LINK.welcome = event.welcome
    elif isinstance(event, Lost):
        LINK.lost(event.sentence, event.mismatch)
    elif isinstance(event, Listed):
        recovery.on_listed(event.jobs)
    elif isinstance(event, Unloaded):
        LINK.on_unloaded(event)
    else:
        _on_job_event(event)


def _on_job_event(event: JobProgress | JobDone | JobEnded) -> None:
    job_id = event.job_id if isinstance(event, JobEnded) else _message(event).job_id
    job = next((job for job in JOBS if job.job_id == job_id), None)
    if job is None or job.state != RUNNING:
        if job is not None and job.given_up and not isinstance(event, JobProgress):
            job.given_up = False
            _release(job, LINK.session)
        return
    if isinstance(event, JobProgress):
        _show_progress(job, event)
    elif isinstance(event, JobDone):
        ARRIVED.append(Arrival(job, event.result, LINK.session))
    else:
        job.end(CANCELLED if event.code == "cancelled" else FAILED, event.sentence)
        if event.code != "lost":
            _release(job, LINK.session)


def _message(event: JobProgress | JobDone):
    return event.progress if isinstance(event, JobProgress) else event.result


def _show_progress(job: Job, event: JobProgress) -> None:
    progress = event.progress
    job.factor = progress.step / progress.total if progress.total else 0.0
    left = f", {progress.seconds_left:.0f} s left" if progress.seconds_left else ""
    if progress.preview is not None and not bpy.app.background:
        previews.show(job.job_id, progress.preview)
    steps = f"{progress.stage.capitalize()} {progress.step}/{progress.total}{left}"
    job.line = steps if progress.total else "Loading the model"


def _next_turn() -> bool:
    """Make one image of the oldest result that is here; with the last of them, all that it was meant for. False if there is
    none."""
    if not ARRIVED:
        return False
    job = ARRIVED[0].job
    if job.state != RUNNING:  # given up meanwhile
        ARRIVED.popleft()
        arrival.drop_unused(job)
    elif not ARRIVED[0].step():
        _land(ARRIVED.popleft())
    return True


def _land(arrived: Arrival) -> None:
    """Make datablocks; only then may the engine forget the result. A mistake of ours ends the job with a sentence."""
    job, result = arrived.job, arrived.result
    expectation.note(job, result)
    try:
        job.end(DONE, job.land(result, job))
    except Exception as error:  # whatever it is, the user gets a sentence, and the pictures if at all possible
        log.debug("job %s could not land", job.job_id, exc_info=True)
        if not _rescue(job, result, f"{type(error).__name__}: {error}"):
            return  # the result stays with the engine
    arrival.drop_unused(job)
    _release(job, arrived.session)
    _push_undo(job)


def _rescue(job: Job, result: Result, cause: str) -> bool:
    """Keep the images of a result that cannot become what it was meant for."""
    try:
        job.end(FAILED, f"{recovery.rescue(result, job)}, but no more came of it ({cause}).")
    except Exception:
        log.debug("job %s could not be rescued", job.job_id, exc_info=True)
        job.end(FAILED, f"The result could not be made into datablocks ({cause}); connect again to fetch it once more.")
        return False
    return True


def _release(job: Job, session: Session) -> None:
    """Nothing of the job is needed from the engine any more."""
    session.acknowledge(job.job_id)
    recovery.done(job)
    previews.drop(job.job_id)
    history.forget()


def _push_undo(job: Job) -> None:
    """An undo step of its own, else undoing what the user did before would take the result away as well."""
    if bpy.ops.ed.undo_push.poll():
        bpy.ops.ed.undo_push(message=job.title)


def _end_orphans() -> None:
    for job in running():
        job.end(FAILED, LINK.problem or "The connection to the engine was closed.")


def _redraw() -> None:
    """The sidebars, but not the 3D view itself, which may take seconds."""
    for window in bpy.context.window_manager.windows if bpy.context.window_manager else ():
        for area in window.screen.areas:
            for region in (region for region in area.regions if region.type in SHOWS_JOBS.get(area.type, ())):
                region.tag_redraw()


def stop() -> None:
    """For unregister: no timer, no set-up, no session, no engine of ours."""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    setting_up.cancel()
    LINK.disconnect()
    recovery.close()
    previews.close()
    expectation.close()
    ARRIVED.clear()
    JOBS.clear()
