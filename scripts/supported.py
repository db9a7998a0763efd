# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Pythons the demo and the tests run with: those that Blender's own Python module exists for.

Plain syntax and no annotations here, in `demo.py` and in `test.py`: a Python of any age has to get as far as the
sentence that tells which one is needed.
"""

import sys

SUPPORTED = ((3, 11), (3, 13))


def problem(version=sys.version_info):
    """One sentence if this Python will not do, else an empty text."""
    if tuple(version[:2]) in SUPPORTED:
        return ""
    return (
        "This is Python %d.%d, for which there is no Blender module: install Python 3.11 or 3.13 and run this with it, "
        "for example `python3.11 %s`." % (version[0], version[1], " ".join(sys.argv))
    )


def require_python():
    """End the program with a sentence and status 2 unless this Python will do."""
    sentence = problem()
    if sentence:
        sys.stderr.write(sentence + "\n")
        sys.exit(2)
