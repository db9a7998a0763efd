# SPDX-License-Identifier: GPL-3.0-or-later
"""Other processes of this computer, by their numbers."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import ctypes

    _SYNCHRONIZE, _WAIT_TIMEOUT = 0x00100000, 0x102

    def is_there(pid: int) -> bool:
        """Does a process with this number run?"""
        handle = ctypes.windll.kernel32.OpenProcess(_SYNCHRONIZE, False, pid)
        if not handle:
            return False
        try:
            return ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == _WAIT_TIMEOUT
        finally:
            ctypes.windll.kernel32.CloseHandle(handle)

else:

    def is_there(pid: int) -> bool:
        """Does a process with this number run?"""
        try:
            os.kill(pid, 0)  # signal 0 only asks; on Windows it would end the process
        except ProcessLookupError:
            return False
        except (OSError, OverflowError):
            pass  # it is there, and another user's
        return True
