# SPDX-License-Identifier: GPL-3.0-or-later
"""What developers and newcomers run; nothing else imports it."""
