# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server answers to each message of a client. No sockets here: a request comes in, replies go out."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from blender_addon.wire import (
    PROTOCOL,
    Accepted,
    Acknowledge,
    Alive,
    Cancel,
    Cancelled,
    Catalogue,
    Failed,
    Fetch,
    GetCatalogue,
    GetJobs,
    GetStatus,
    HandoverLost,
    Heartbeat,
    Hello,
    JobInfo,
    Jobs,
    Message,
    Progress,
    Refused,
    Result,
    Share,
    Shared,
    Status,
    Submit,
    Unload,
    Welcome,
    encode,
)

from . import __version__
from .digest import digest_of
from .downloads import Downloads
from .handover import discard, discarded_on_errors, reachable
from .library import usable
from .offering import GET_MODEL, TASKS, catalogue, unfit
from .queue import CANCELLED, DONE, FAILED, QUEUED, RUNNING, Job, Queue, QueueFull
from .request import Request
from .results import ResultStore
from .settings import Settings
from .standing import standing
from .supervisor import Supervisor
from .tally import Tally

log = logging.getLogger(__name__)

LISTED_JOBS = 256
STOPPING = "engine-stopping"
GONE = "The result was dropped: newer ones needed its room, or its time was up. Submit the job again, with another name."
LOST = "The job's images are not where they were said to be: send them in the message."

Send = Callable[[bytes, list], None]


class Desk:
    """Takes requests, keeps the queue and the results, and hands jobs to the supervisor's workers."""

    def __init__(self, settings: Settings, supervisor: Supervisor, send: Send, wake: Callable[[], None]) -> None:
        self.settings, self.supervisor, self._send = settings, supervisor, send
        self.downloads = Downloads(self.on_news, wake, settings.offline)
        self.instance = uuid.uuid4().hex
        self.queue = Queue(settings.queue_limit, settings.queue_bytes)
        self.results = ResultStore(
            settings.home, settings.results_in_memory, settings.results_on_disk, settings.results_limit, settings.results_keep
        )
        self.tally = Tally()
        self.started, self._closing = time.monotonic(), False
        self._answers: dict[type[Message], Callable[[Request, Any], Message | None]] = {
            Hello: self._hello,
            Share: self._share,
            Heartbeat: self._heartbeat,
            GetStatus: self._status,
            GetCatalogue: self._catalogue,
            GetJobs: self._jobs,
            Unload: self._unload,
            Submit: self._submit,
            Cancel: self._cancel,
            Fetch: self._fetch,
            Acknowledge: self._acknowledge,
        }

    def answer(self, request: Request) -> Message | None:
        """The reply to a request, if it has one; news of jobs are sent on their own."""
        message = request.envelope.message
        return self._answers[type(message)](request, message)

    # ---- questions ---------------------------------------------------------------------------------------------------

    def _hello(self, request: Request, hello: Hello) -> Welcome:
        log.info("%s says hello", hello.client)
        device, free, total = self.device()
        models = usable(self.settings.models)
        return Welcome(PROTOCOL, __version__, device, free, total, models, TASKS, self.instance)

    def _share(self, request: Request, share: Share) -> Shared:
        handover = self.supervisor.handover
        if handover is None:
            return Shared(self.instance, "", False)
        return Shared(self.instance, handover.folder.path, handover.prove(request.owner, request.route, share.proof))

    def _catalogue(self, request: Request, _: GetCatalogue) -> Catalogue:
        return Catalogue(catalogue(self.settings.models))

    def _heartbeat(self, request: Request, _: Heartbeat) -> Alive:
        finished = [job.job_id for job in self.queue.of(request.owner) if job.finished]
        return Alive(self.instance, tuple(finished[-LISTED_JOBS:]))

    def _status(self, request: Request, _: GetStatus) -> Status:
        return standing(self)

    def device(self) -> tuple[str, int, int]:
        workers = self.supervisor.workers
        return ",".join(worker.device for worker in workers), *workers[0].memory_now()

    def _jobs(self, request: Request, _: GetJobs) -> Jobs:
        jobs = self.queue.of(request.owner)[-LISTED_JOBS:]
        return Jobs(tuple(JobInfo(job.job_id, job.task, job.state, self.queue.position(job)) for job in jobs))

    def _unload(self, request: Request, _: Unload) -> Message:
        if self.supervisor.busy():
            return Refused("busy", "A job is running: cancel it or wait for its end, then unload.")
        log.info("the workers are unloaded")
        self.supervisor.stop(wait=False)
        return self._status(request, GetStatus())

    # ---- jobs --------------------------------------------------------------------------------------------------------

    def _submit(self, request: Request, submit: Submit) -> Message | None:
        known = self.queue.find(request.owner, submit.job_id)
        digest = digest_of(request.envelope, request.frames)
        frames = request.claimed(handover := self.supervisor.handover)
        if frames is None:
            return Failed(submit.job_id, "handover-lost", LOST)
        if known is not None:
            discard(frames)
            return self._again(request, known, digest)
        with discarded_on_errors(frames):
            job = request.job(frames, digest, handover)
            refusal = unfit(submit, self.settings.models) or self._enqueue(job)
        if refusal:
            log.info("job %s refused: %s", submit.job_id, refusal.code)
            discard(frames)
            return refusal
        log.info("job %s accepted: %s, %d bytes", job.job_id, job.task, job.size)
        self._accept(request, job)
        self.dispatch()
        return None

    def _accept(self, request: Request, job: Job) -> None:
        """Answer that the job is taken, before any news of it."""
        accepted = Accepted(job.job_id, self.queue.position(job), self.instance)
        self._send(request.route, encode(accepted, request.envelope.request))

    def _again(self, request: Request, job: Job, digest: bytes) -> Message | None:
        """The same job a second time: it runs once, and its news go to the connection that asked last."""
        if job.digest != digest:
            return Failed(job.job_id, "job-id-reused", f"The job {job.job_id} was submitted before with another request.")
        self._accept(request, job)
        self._tell(job, request.route)
        return None

    def _enqueue(self, job: Job) -> Failed | None:
        if self._closing:
            return Failed(job.job_id, STOPPING, "The engine is being stopped: submit the job again when it runs anew.")
        try:
            self.queue.add(job)
        except QueueFull as error:
            return Failed(job.job_id, "queue-full", str(error))
        return None

    def _cancel(self, request: Request, cancel: Cancel) -> Message | None:
        job = self.queue.find(request.owner, cancel.job_id)
        if job is None:
            return _unknown(cancel.job_id)
        if job.state == QUEUED:
            self.on_news(job, message := Cancelled(job.job_id), encode(message))
        elif not job.finished:
            self._place(job).of(job).cancel()
        return None

    def _fetch(self, request: Request, fetch: Fetch) -> Message | None:
        job = self.queue.find(request.owner, fetch.job_id)
        if job is None:
            return _unknown(fetch.job_id)
        if not job.finished:
            self._accept(request, job)
        self._tell(job, request.route)
        return None

    def _tell(self, job: Job, route: bytes) -> None:
        """Send the job's last news to this connection, and its further news from now on."""
        job.route, job.abandoned = route, False
        frames = self.results.get(job) if job.finished else job.news
        if frames is None and job.finished:
            frames = encode(Failed(job.job_id, "result-gone", GONE))
        if frames:
            self._deliver(job, frames)

    def _deliver(self, job: Job, frames: list) -> None:
        """Send news of a job to its connection; what lies in files goes in the message where those are out of reach."""
        handover = self.supervisor.handover
        try:
            self._send(job.route, reachable(frames, handover is not None and handover.near(job.owner, job.route)))
        except HandoverLost as error:
            log.warning("the result of job %s is lost: %s", job.job_id, error)
            self._send(job.route, encode(Failed(job.job_id, "result-gone", GONE)))

    def _acknowledge(self, request: Request, message: Acknowledge) -> None:
        job = self.queue.find(request.owner, message.job_id)
        if job is None:
            return
        job.abandoned = True
        if job.finished:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        self.queue.remove(job)
        self.results.drop(job)

    # ---- what workers report -----------------------------------------------------------------------------------------

    def on_news(self, job: Job, message: Message, frames: list) -> None:
        """Pass news of a job on to its client; an end is kept as well, and makes room for the next job."""
        if not job.abandoned:
            self._deliver(job, frames)
        if isinstance(message, Progress):
            job.news = frames
        else:
            self._end(job, message, frames)

    def _end(self, job: Job, message: Message, frames: list) -> None:
        job.state = {Result: DONE, Failed: FAILED, Cancelled: CANCELLED}[type(message)]
        job.frames = job.news = []
        if job.files:
            self.supervisor.handover.discard(job.files)
        seconds = time.monotonic() - job.started if job.started else 0.0
        self.tally.add(message, seconds)
        if isinstance(message, Result):
            self.queue.took(seconds)
        log.info("job %s %s%s", job.job_id, job.state, f": {message.code}" if isinstance(message, Failed) else "")
        if job.abandoned:
            discard(frames)
            self._forget(job)
        else:
            self.results.put(job, frames)
            self._forget_dropped()

    def _forget_dropped(self) -> None:
        """Jobs whose result had to go are themselves only remembered up to the number of results."""
        gone = [job for job in self.queue if job.finished and self.results.get(job) is None]
        for job in gone[: -self.settings.results_limit]:
            self.queue.remove(job)

    def dispatch(self) -> None:
        """Give waiting jobs to workers that have none."""
        for job in self.queue.waiting():
            worker = self._place(job).free()
            if worker is not None:
                job.started = time.monotonic()
                self.queue.serve(job)
                worker.assign(job)

    def _place(self, job: Job) -> Supervisor | Downloads:
        """Who runs such jobs."""
        return self.downloads if job.task == GET_MODEL else self.supervisor

    def hand_back(self, states: tuple[str, ...]) -> None:
        """The engine is to stop: take nothing more, and end the jobs of these states with a sentence that says so."""
        self._closing = True
        for job in [job for job in self.queue if job.state in states]:
            message = Failed(job.job_id, STOPPING, "The engine was stopped before the job's end: submit it again when it runs anew.")
            self.on_news(job, message, encode(message))

    def busy(self) -> bool:
        """Does any job run?"""
        return any(job.state == RUNNING for job in self.queue)

    def close(self) -> None:
        """Forget everything."""
        self.downloads.close()
        self.results.close()


def _unknown(job_id: str) -> Failed:
    return Failed(
        job_id, "unknown-job", f"The engine holds no job {job_id} of yours, perhaps because it was started anew: submit it again."
    )
