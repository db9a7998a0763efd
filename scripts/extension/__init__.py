# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the Blender extension: zips with everything that they need, and a static repository of them."""
