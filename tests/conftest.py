# SPDX-License-Identifier: GPL-3.0-or-later
"""For all tests: one thread each. Several threads on a busy machine made tiny networks over ten times slower."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, here and in every process that a test starts
