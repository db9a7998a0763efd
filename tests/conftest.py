# SPDX-License-Identifier: GPL-3.0-or-later
"""For all tests: one thread each, and Ctrl-C that reaches the processes that they start."""

from __future__ import annotations

import os
import signal
import threading

# Several threads on a busy machine made tiny networks over ten times slower. Before torch is imported, here and in every
# process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell has its background jobs ignore Ctrl-C, and what they start would ignore it, too.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
