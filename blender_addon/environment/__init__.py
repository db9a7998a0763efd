# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's own environment, outside Blender: a Python, PyTorch for this machine, the engine. No bpy, no torch.

    setup = Setup(Plan(home_folder()))      # a thread; children do the work
    while setup.running: print(setup.progress)
    setup.sentence                          # what came of it

What is made lies in `<home>/env`; its last file, the stamp, says that it is whole. Nothing is ever installed into
Blender's own Python.
"""

from __future__ import annotations

from .errors import SetupError
from .installer import Plan, Progress, Setup
from .pip import is_folder
from .place import Installed, environment_folder, installed, log_file, python_of

__all__ = [
    "Installed",
    "Plan",
    "Progress",
    "Setup",
    "SetupError",
    "environment_folder",
    "installed",
    "is_folder",
    "log_file",
    "python_of",
]
