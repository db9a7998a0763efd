# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks for messages that the decoder neither understands nor refuses, guided by which of its lines they reach.

    .venv/bin/pip install atheris
    .venv/bin/python scripts/fuzz.py -max_total_time=600

The options are libFuzzer's. Any finding ends the run with a traceback, and its bytes are kept in a file `crash-...`.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

SEPARATOR = b"\xff\x00\xff"
"""Stands between the frames of a message in a file of the fuzzer's; no JSON holds it."""


def main() -> int:
    """Run until libFuzzer has enough; 2 where Atheris is not installed."""
    try:
        import atheris
    except ImportError:
        print("Atheris is not installed: .venv/bin/pip install atheris (it exists for Linux and macOS).", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["blender_addon.wire"]):
        from blender_addon.wire import FROM_CLIENT, FROM_ENGINE, ProtocolError, VersionMismatch, decode
        from blender_addon.wire.reference import stand_in

    def once(data: bytes) -> None:
        frames = data.split(SEPARATOR)
        for registry in (FROM_CLIENT, FROM_ENGINE):
            try:
                decode([b"TEAMWORK", *frames], registry, stand_in)
            except (ProtocolError, VersionMismatch) as error:
                if "\n" in str(error) or len(str(error)) > 2000:
                    raise AssertionError(f"the refusal is no short line: {str(error)[:200]!r}") from error

    atheris.Setup([sys.argv[0], *sys.argv[1:]], once)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
