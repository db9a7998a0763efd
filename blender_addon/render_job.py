# SPDX-License-Identifier: GPL-3.0-or-later
"""One job of a render, on a connection of its own: the render's thread waits for it and can be stopped. No bpy."""

from __future__ import annotations

import time
from collections.abc import Callable

from .wire import ENDS, Cancelled, Client, Failed, JobCancelled, JobFailed, Progress, Result, Submit

POLL_SECONDS = 0.05


class RenderStopped(Exception):
    """The user has stopped the render; there is nothing to say."""


def run(
    client: Client,
    job: Submit,
    *,
    stopped: Callable[[], bool],
    on_progress: Callable[[Progress], None],
    timeout: float = 3600.0,
) -> Result:
    """Submit a job and wait for its result, asking `stopped` twenty times a second.

    Raises `RenderStopped` after it has told the engine to cancel, `JobFailed` (code timeout after `timeout` seconds),
    `JobCancelled` when somebody else cancelled it, `EngineSilent` when the engine is lost.
    """
    try:
        client.submit(job)  # the engine may work on it before this returns, and a script be interrupted in between
        end = _wait(client, stopped, on_progress, time.monotonic() + timeout)
        if end is None:
            sentence = f"The engine did not finish within {timeout:.0f} s; give it more time."
            raise JobFailed(job.job_id, "timeout", sentence)
    except BaseException:
        client.cancel(job.job_id)
        raise
    finally:
        client.acknowledge(job.job_id)
    return _result(end)


def _wait(client: Client, stopped: Callable[[], bool], on_progress: Callable[[Progress], None], deadline: float):
    """The job's end; None when it is too late."""
    while time.monotonic() < deadline:
        if stopped():
            raise RenderStopped
        message = client.poll(POLL_SECONDS)
        if isinstance(message, ENDS):
            return message
        if isinstance(message, Progress):
            on_progress(message)
    return None


def _result(end: Result | Failed | Cancelled) -> Result:
    if isinstance(end, Failed):
        raise JobFailed(end.job_id, end.code, end.sentence)
    if isinstance(end, Cancelled):
        raise JobCancelled(end.job_id)
    return end
