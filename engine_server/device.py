# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's device: how much memory it has, how much of it the worker may take, in which precision models work on it."""

from __future__ import annotations

import contextlib
import gc
import sys
from pathlib import Path

from .library import base_numbers
from .memory import system_memory

LARGE = 500_000_000
"""Networks of more numbers than this are used in bfloat16 on graphics cards, as they were released."""

_limits: dict[str, int] = {}


def limit_memory(device: str, most: int) -> None:
    """Let this process take no more than `most` bytes: of the card, or of main memory (only Linux keeps to that)."""
    if most <= 0:
        return
    if device.startswith("cuda"):
        import torch

        total = torch.cuda.mem_get_info(torch.device(device))[1]
        torch.cuda.set_per_process_memory_fraction(min(1.0, most / total), torch.device(device))
    elif sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    _limits[device] = most


def device_memory(device: str) -> tuple[int, int]:
    """Free and total memory of the device in bytes, within this process's limit; (0, 0) if it is not there.

    Imports torch for graphics cards, so it is only to be called when torch is loaded anyway.
    """
    if device.startswith("cuda"):
        import torch

        try:
            free, total = torch.cuda.mem_get_info(torch.device(device))
            held = torch.cuda.memory_reserved(torch.device(device))
        except (RuntimeError, AssertionError, ValueError):  # the job has failed with a sentence that says so
            return 0, 0
    else:
        (free, total), held = system_memory(), taken()
    most = _limits.get(device)
    return (free, total) if most is None else (max(0, min(free, most - held)), min(total, most))


def taken() -> int:
    """Bytes of this process that count towards its limit."""
    with contextlib.suppress(OSError, ValueError):
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(lines["VmData"].split()[0]) * 1024
    return 0


def give_back(device: str) -> None:
    """Hand memory that no tensor uses any more back to the device."""
    gc.collect()
    if not device.startswith(("cuda", "mps")):
        return
    import torch

    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    else:
        torch.mps.empty_cache()


def precision(device: str, folder: str) -> str:
    """The precision in which the base of a folder works on a device."""
    base = Path(folder) / "base" if (Path(folder) / "base").is_dir() else Path(folder)
    return "bfloat16" if device != "cpu" and base_numbers(base) > LARGE else "float32"
