# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server process can be told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30


@dataclass(frozen=True)
class Settings:
    """Settings of one server. Times are seconds, sizes bytes.

    `address` is where it listens (port 0: any free one); `devices` gets one worker each; `models` are folders of teams
    beside the bundled one; `parent_pid` is a process with which the server ends; `offline` rules out fetching models;
    `metrics` is where Prometheus may ask ("": nowhere); `drain` is what running jobs have to end in when the server is told
    to stop.
    `cluster` is a Ray cluster whose machines run the jobs ("local": one of this computer's own), with `cluster_workers`
    workers (0: one for each GPU) that reach the server at `cluster_port` (0: any free one); `devices` may be empty then.
    Ends of jobs are kept for `results_keep`.
    Warm models may take `warm_bytes` of a device (0: a share of it), a worker `memory_limit` (0: all).
    """

    home: Path
    address: str = "tcp://127.0.0.1:0"
    devices: tuple[str, ...] = ("cpu",)
    models: tuple[Path, ...] = ()
    cluster: str = ""
    cluster_workers: int = 0
    cluster_port: int = 0
    parent_pid: int | None = None
    warm: bool = False
    offline: bool = False
    metrics: str = ""
    warm_bytes: int = 0
    memory_limit: int = 0
    queue_limit: int = 64
    queue_bytes: int = 4 * GIB
    results_in_memory: int = GIB
    results_on_disk: int = 16 * GIB
    results_limit: int = 256
    results_keep: float = 86_400.0
    start_limit: float = 60.0
    hang_limit: float = 900.0
    cancel_grace: float = 60.0
    drain: float = 10.0
