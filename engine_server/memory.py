# SPDX-License-Identifier: GPL-3.0-or-later
"""The computer's memory, without any library; a graphics card's memory is its worker's to tell."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def system_memory() -> tuple[int, int]:
    """Free and total memory of this computer in bytes; (0, 0) where the system does not tell."""
    if sys.platform == "win32":
        return _windows()
    if sys.platform == "linux":
        return _linux()
    return _posix()


def _linux() -> tuple[int, int]:
    """What programs can still have, by the kernel's own estimate, which counts caches as free."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return tuple(int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    except (OSError, KeyError, ValueError):
        return _posix()


def _posix() -> tuple[int, int]:
    """The total; macOS does not say what is free without a tool, so the total stands for it."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 0, 0
    return total, total


def _windows() -> tuple[int, int]:
    import ctypes

    class MemoryStatus(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong) for name in ("total", "free", "page1", "page2", "virtual1", "virtual2", "extended")
        ]

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return 0, 0
    return status.free, status.total
