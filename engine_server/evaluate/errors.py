# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error of an evaluation that is its user's to mend."""


class DataError(ValueError):
    """The data folder, a sample or a file is not as expected; the message is one sentence that says what is."""
