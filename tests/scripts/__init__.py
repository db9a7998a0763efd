# SPDX-License-Identifier: GPL-3.0-or-later
"""What newcomers and developers run."""
