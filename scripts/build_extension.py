# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension as zips that Blender installs, one for each platform, and the folder that Blender updates from.

    python3 scripts/build_extension.py [--out dist] [--repository DIR] [--platform linux-x64] [--without-wheels]
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if __name__ == "__main__":
    from scripts.supported import require_python

    require_python()
    from scripts.extension.command import main

    sys.exit(main())
