# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's figures for Prometheus, on a port of their own: counts, times and memory, no names of jobs or clients.

Needs `prometheus-client` (the extra `metrics`), which answers from threads of its own; what it tells is a snapshot that the
server's loop has left, so that nobody who asks holds up a client.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from blender_addon.wire import Status, WireError, full_address

INTERVAL = 0.5
"""Seconds from one look to the next."""


@dataclass(frozen=True)
class Snapshot:
    """What is told: the status, failures by their code, and the seconds that all jobs took on workers."""

    status: Status
    codes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Metrics:
    """Listens at `address` (host:port). Raises `WireError` if it cannot, or if the package is not there."""

    def __init__(self, address: str) -> None:
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError as error:
            raise WireError("--metrics needs the package prometheus-client: pip install prometheus-client.") from error
        self.snapshot: Snapshot | None = None
        self._taken = -INTERVAL
        registry = CollectorRegistry()
        registry.register(self)
        host, _, port = full_address(address).removeprefix("tcp://").rpartition(":")
        try:
            self._server, _ = start_http_server(int(port), host.strip("[]"), registry)
        except (OSError, OverflowError) as error:
            raise WireError(f"No metrics can be told at {address} ({error}): choose another port, or 0 for any.") from error
        self.port = self._server.server_port

    def take(self, look: Callable[[], Snapshot]) -> None:
        """Have what is told renewed, but not with every message that the server's loop handles."""
        if (now := time.monotonic()) - self._taken >= INTERVAL:
            self.snapshot, self._taken = look(), now

    def collect(self) -> Iterator[Any]:
        """For prometheus-client: the families of figures."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        told = self.snapshot
        if told is None:
            return
        status = told.status
        jobs = CounterMetricFamily("teamwork_jobs", "Jobs that ended, by how", labels=["end"])
        for end in ("done", "failed", "cancelled"):
            jobs.add_metric([end], getattr(status, end))
        failures = CounterMetricFamily("teamwork_failures", "Failed jobs, by code", labels=["code"])
        for code, count in told.codes.items():
            failures.add_metric([code], count)
        yield jobs
        yield failures
        yield CounterMetricFamily("teamwork_job_seconds", "Seconds that jobs took on workers", value=told.seconds)
        for name, text, value in _gauges(status):
            yield GaugeMetricFamily(name, text, value=value)

    def describe(self) -> list[Any]:
        """For prometheus-client, which would collect at once otherwise."""
        return []

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


def _gauges(status: Status) -> list[tuple[str, str, float]]:
    return [
        ("teamwork_uptime_seconds", "Seconds since the engine's start", status.uptime),
        ("teamwork_jobs_waiting", "Jobs in the queue", status.queued),
        ("teamwork_jobs_running", "Jobs on workers", status.running),
        ("teamwork_queue_places", "Jobs that the queue takes", status.queue_limit),
        ("teamwork_results_kept", "Results that no client has acknowledged yet", status.kept),
        ("teamwork_results_kept_bytes", "Their size", status.kept_bytes),
        ("teamwork_device_memory_free_bytes", "Free memory of the first device", status.memory_free),
        ("teamwork_device_memory_bytes", "All memory of the first device", status.memory_total),
        ("teamwork_models_warm", "Models that stay loaded", len(status.warm)),
    ]
