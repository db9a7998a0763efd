# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the window test that runs inside Blender. Every function that takes time is a generator: it yields the
seconds to wait, and goes on when Blender's timer calls it again, so that Blender draws and reacts in between.
"""
