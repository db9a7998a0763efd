# SPDX-License-Identifier: GPL-3.0-or-later
"""All workers, one for each device, and the channel on which they are heard. Where they run is their executor's business."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import zmq

from blender_addon.wire import Envelope, Failed, KeyPair, Message, decode, encode
from blender_addon.wire.errors import WireError
from blender_addon.wire.reference import stand_in

from .device_worker import BUSY, IDLE, NONE, STARTING, Worker
from .executor import Executor
from .handover import Handover
from .queue import Job
from .settings import Settings
from .worker_link import FROM_WORKER, Channel, Orders

log = logging.getLogger(__name__)

ASLEEP = 5.0
"""Seconds between two looks after which this process was held up itself: it looks twice a second."""

OnNews = Callable[[Job, Message, list], None]
"""Gets a job, the worker's or the supervisor's message about it, and the same message as frames."""


def _channel(context: zmq.Context, listen: str) -> Channel:
    """The channel to the workers. Raises `WireError` where it cannot listen at the address that was chosen for them."""
    try:
        return Channel(context, listen)
    except zmq.ZMQError as error:
        raise WireError(f"Workers cannot reach this engine at {listen}: {error.strerror}. Choose another --cluster-port, or 0.") from error


class Supervisor:
    """All workers and their private channel. `on_news` gets progress and ends; `handover` is the folder for large images."""

    def __init__(self, context: zmq.Context, settings: Settings, on_news: OnNews, executor: Executor, handover: Handover | None) -> None:
        self.settings, self.on_news, self.executor, self.handover = settings, on_news, executor, handover
        self._channel = _channel(context, executor.listen)
        self.socket = self._channel.socket
        self.workers = [Worker(device, self) for device in executor.places]
        self._checked = time.monotonic()

    def admits(self, key: str) -> bool:
        """Is this the key of a worker that was started here and is still wanted?"""
        return any(key == worker.public for worker in self.workers)

    def orders(self, token: str, keys: KeyPair, device: str) -> Orders:
        """The orders of a new worker."""
        sizes = self.settings.warm_bytes, self.settings.memory_limit
        folder = self.handover.folder.path if self.handover else ""
        server = self._channel.address, self._channel.keys.public
        return Orders(*server, keys.public, keys.secret, token, device, *sizes, folder, self.settings.warm)

    def send(self, token: str, frames: list[Any]) -> None:
        """Send frames to a worker. One that is gone does not get them; its exit will be noticed."""
        try:
            self.socket.send_multipart([token.encode(), *frames], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            log.warning("a worker cannot be reached (%s)", error)

    def receive(self) -> None:
        """Take the one message that waits on the channel."""
        token, *frames = self.socket.recv_multipart(copy=False)
        worker = next((each for each in self.workers if each.token.encode() == token.bytes), None)
        if worker is None:
            return  # the last words of a process that was given up
        try:
            envelope = decode(frames, FROM_WORKER, self.handover and stand_in)
        except WireError as error:
            log.error("worker %d sent a message that breaks the protocol: %s", worker.process.pid, error)
            worker.misunderstood(error)
        else:
            worker.hear(*self._claimed(envelope, frames))

    def _claimed(self, envelope: Envelope, frames: list) -> tuple[Message, list]:
        """A worker's message and its frames, whose files are the engine's from now on."""
        carried = self.handover.carried(frames, envelope.files) if envelope.files else frames
        if carried is not None:
            return envelope.message, carried
        failed = Failed(envelope.message.job_id, "handover-lost", "The result's images are not where the worker has left them.")
        return failed, encode(failed)

    def free(self) -> Worker | None:
        """A worker without a job: rather one that waits for it, or else one whose process is on its way."""
        jobless = [worker for worker in self.workers if worker.job is None]
        return min(jobless, key=lambda worker: (IDLE, STARTING, NONE).index(worker.state), default=None)

    def of(self, job: Job) -> Worker | None:
        """The worker that has the job."""
        return next((worker for worker in self.workers if worker.job is job), None)

    def check(self) -> None:
        """Look after all workers; to be called now and then, and when the executor's `wake` was."""
        self.executor.check()
        now = time.monotonic()
        asleep, self._checked = now - self._checked, now
        for worker in self.workers:
            if asleep > ASLEEP:
                worker.excuse(asleep)
            worker.check(now)
        self._hand_over()
        self._keep_to_places()

    def _hand_over(self) -> None:
        """Jobs that wait for a process to start, perhaps for long, go to workers that have nothing to do."""
        idle = [worker for worker in self.workers if worker.state == IDLE and worker.job is None]
        late = [worker for worker in self.workers if worker.state == STARTING and worker.job is not None]
        for worker, other in zip(idle, late, strict=False):
            worker.take_from(other)

    def _keep_to_places(self) -> None:
        """One worker for each device that there is now. Those of devices that are gone end when they have no job."""
        missing = list(self.executor.places)
        for worker in sorted(self.workers, key=lambda each: (BUSY, IDLE, STARTING, NONE).index(each.state)):
            if worker.device in missing:
                missing.remove(worker.device)
            elif worker.retire():
                self.workers.remove(worker)
        self.workers += [Worker(device, self) for device in missing]

    def warm_up(self) -> None:
        """Start the workers that have no process."""
        for worker in self.workers:
            if worker.state == NONE:
                worker.start()

    def busy(self) -> bool:
        """Does any worker have a job?"""
        return any(worker.job is not None for worker in self.workers)

    def stop(self, wait: bool = False) -> None:
        """End all processes; with `wait`, return when they are gone."""
        processes = [worker.stop() for worker in self.workers]
        for process in processes:
            if wait and process is not None:
                process.join()

    def close(self) -> None:
        """End all processes and the channel."""
        self.stop(wait=True)
        self.executor.close()
        self._channel.close()
