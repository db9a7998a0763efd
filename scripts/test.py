# SPDX-License-Identifier: GPL-3.0-or-later
"""All tests, from a bare Python: sets up the environment, then runs pytest. Further words go to pytest.

    python3 scripts/test.py [tests/pure] [-k WORD] [-x] ...
    python3 scripts/test.py --hosts all      the add-on's tests in Blender 4.2, 4.5, 5.0 and 5.2
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if __name__ == "__main__":
    from scripts.supported import require_python

    require_python()
    from scripts.test_command import main

    sys.exit(main())
