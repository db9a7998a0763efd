# SPDX-License-Identifier: GPL-3.0-or-later
"""Is another process still there? Asked by a server that shall end with the program that started it."""

from __future__ import annotations

import os
import select
import sys

from blender_addon.wire.processes import is_there


class ParentWatch:
    """Watches one process by its id. Make it early: from then on a new process with the same id is no mistake any more."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._child_of_it = os.name == "posix" and os.getppid() == pid
        self._handle = self._open()

    def _open(self) -> int | None:
        """A handle that stays with this very process (Linux, Windows); None where there is none, or no process."""
        if sys.platform == "win32":
            return _open_process(self._pid)
        if hasattr(os, "pidfd_open"):
            try:
                return os.pidfd_open(self._pid)
            except OSError:
                return None
        return None

    def gone(self) -> bool:
        """Has the process ended?"""
        if self._handle is not None:
            return _has_ended(self._handle)
        if self._child_of_it:
            return os.getppid() != self._pid
        return not is_there(self._pid)


if sys.platform == "win32":
    import ctypes

    _SYNCHRONIZE = 0x00100000
    _WAIT_OBJECT_0 = 0

    def _open_process(pid: int) -> int | None:
        return ctypes.windll.kernel32.OpenProcess(_SYNCHRONIZE, False, pid) or None

    def _has_ended(handle: int) -> bool:
        return ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == _WAIT_OBJECT_0

else:

    def _has_ended(handle: int) -> bool:
        return bool(select.select([handle], [], [], 0)[0])
