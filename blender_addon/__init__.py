# SPDX-License-Identifier: GPL-3.0-or-later
"""Teamwork: the add-on."""
