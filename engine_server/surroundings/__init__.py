# SPDX-License-Identifier: GPL-3.0-or-later
"""Holes filled with what lies around them, for teams that make nothing of their own."""
