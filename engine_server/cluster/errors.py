# SPDX-License-Identifier: GPL-3.0-or-later
"""The error of a cluster that cannot be used."""

from __future__ import annotations


class ClusterError(Exception):
    """A cluster cannot be used; the text is a sentence that says why, and what to do."""
