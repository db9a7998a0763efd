# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: a server process without torch, worker processes that own the models, and everything they compute."""

__version__ = "0.1.0"
