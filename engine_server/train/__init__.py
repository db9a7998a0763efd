# SPDX-License-Identifier: GPL-3.0-or-later
"""Training: data, losses, the loop, and commands that make what it takes and pack what it leaves."""

from ..logs import quiet_packages

quiet_packages()  # before the commands of this package import them
