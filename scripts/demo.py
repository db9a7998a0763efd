# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo, from a bare Python: sets up the environment, then turns a photo into a material and a scene into a picture.

    python3 scripts/demo.py [--photo FILE] [--out DIR] [--size 256] [--samples 256]
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if __name__ == "__main__":
    from scripts.supported import require_python

    require_python()
    from scripts.demo_command import main

    sys.exit(main())
