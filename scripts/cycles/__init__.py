# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes that Cycles renders: for training, for the demo, and to show a material."""
