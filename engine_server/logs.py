# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's log: one line an event, with time and process, on standard error. Keys and images never go into it."""

from __future__ import annotations

import logging
import sys

TALKATIVE = ("torchao", "bitsandbytes", "torch.utils._pytree", "diffusers.quantizers")
"""Packages that say while they are imported which of their parts this machine has no use for."""


def quiet_packages() -> None:
    """Let imported packages speak of errors only."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)


def set_up_logging(level: str = "INFO") -> None:
    """Send this process's log to standard error."""
    form = "%(asctime)s %(process)d %(levelname)s %(message)s"
    logging.basicConfig(stream=sys.stderr, level=level, format=form)
    quiet_packages()
