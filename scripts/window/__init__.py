# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on in a real Blender with a window: Debian's Blenders in folders of their own, driven by script and clicks."""
