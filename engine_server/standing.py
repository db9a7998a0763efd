# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine does just now, as clients and operators are told it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from blender_addon.wire import Status

from .device_worker import BUSY, IDLE, NONE, STARTING
from .queue import RUNNING

if TYPE_CHECKING:
    from .requests import Desk


def standing(desk: Desk) -> Status:
    """The status; of several workers, the busiest one's."""
    device, free, total = desk.device()
    workers = desk.supervisor.workers
    worker = max(workers, key=lambda each: (NONE, IDLE, STARTING, BUSY).index(each.state))
    return Status(
        instance=desk.instance,
        uptime=time.monotonic() - desk.started,
        device=device,
        worker=worker.state,
        worker_pid=worker.process.pid if worker.process else 0,
        memory_free=free,
        memory_total=total,
        queued=len(desk.queue.waiting()),
        queue_limit=desk.queue.limit,
        kept=len(desk.results),
        kept_bytes=desk.results.size,
        running=sum(job.state == RUNNING for job in desk.queue),
        warm=tuple(dict.fromkeys(name for each in workers for name in each.warm)),
        failures=desk.tally.failures(),
        **desk.tally.ends,
    )
