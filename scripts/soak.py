# SPDX-License-Identifier: GPL-3.0-or-later
"""Has an engine work for a long time while things die around it: `.venv/bin/python scripts/soak.py --minutes 10 [--help]`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if __name__ == "__main__":
    from scripts.soaking import main

    sys.exit(main(sys.argv[1:]))
