# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how fast things are, with a Python that has the engine: `.venv/bin/python scripts/benchmark.py NAME [--help]`.

NAME is a module of `scripts/benchmarks`; without one, all are listed.
"""

import os
import sys

# instead of this script's own folder, whose `cycles` would hide Blender's
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

if __name__ == "__main__":
    from scripts.benchmarks import main

    sys.exit(main(sys.argv[1:]))
