# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on in real Blenders with a window that nobody sees: clicked, checked, photographed. As root, on Debian.

    python3 scripts/window_test.py [--systems trixie,sid] [--out DIR] [--folder DIR]
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if __name__ == "__main__":
    from scripts.supported import require_python

    require_python()
    from scripts.window.command import main

    sys.exit(main())
