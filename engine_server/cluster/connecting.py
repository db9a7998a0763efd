# SPDX-License-Identifier: GPL-3.0-or-later
"""Connecting to a Ray cluster, and Ray's long texts in words of ours. Only the agent's process imports ray."""

from __future__ import annotations

import os
import socket
from types import ModuleType

from ..failures import printable
from .errors import ClusterError

LOCAL, AUTO = "local", "auto"
REACH_SECONDS = 5.0
LOCAL_STORE = 100 << 20
"""Bytes of Ray's object store in a cluster of this computer's own; no job uses it."""


def connected(address: str, workers: int, folder: str) -> ModuleType:
    """Ray, connected to the cluster at an address, or to a new one on this computer with its files in `folder`.

    Raises `ClusterError`.
    """
    try:
        import ray
    except ImportError as error:
        fix = "pip install 'teamwork-blender[cluster]'"
        raise ClusterError(f"--cluster needs Ray, which is not installed here ({error}): {fix}.") from error
    if address not in (LOCAL, AUTO):
        reach(address)
    try:
        ray.init(address, configure_logging=False, log_to_driver=True, **(_of_our_own(workers, folder) if address == LOCAL else {}))
    except Exception as error:
        raise ClusterError(f"The Ray cluster {address} cannot be used: {' '.join(str(error).split())[:500]}") from error
    return ray


def _of_our_own(workers: int, folder: str) -> dict[str, object]:
    cpus = max(workers, os.cpu_count() or 1)
    return {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": LOCAL_STORE, "_temp_dir": folder}


def reach(address: str) -> None:
    """Is there anybody? Ray itself would try for two minutes. Raises `ClusterError`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ClusterError(
            f"{address!r} is not the address of a Ray cluster; expected host:port as `ray start --head` prints it, auto, or local."
        )
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"No Ray cluster answers at {address} ({error}): start one there with `ray start --head --port={port}`,"
            " see that a firewall lets this computer through, or give its right address."
        ) from error


def describe(error: Exception) -> str:
    """How an actor ended, by Ray's error, in words that follow "it ended"."""
    text = str(error)
    if type(error).__name__ == "OutOfMemoryError":
        return "because its computer ran out of memory"
    if "node has died" in text or "node was terminated" in text:
        return "because its computer left the cluster"
    if "No module named" in text:
        return "because this engine is not installed on its computer, for the Python that Ray runs there"
    if cause := getattr(error, "cause", None):
        return f"because {printable(str(cause)) or type(cause).__name__}"
    return "unexpectedly, as when it is killed, crashes, or its computer runs out of memory"
