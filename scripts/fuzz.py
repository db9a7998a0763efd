# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks for messages that the decoder neither understands nor refuses, guided by which of its lines they reach.

Each of the fuzzer's inputs is tried twice: as the bytes of a message, and as choices from which one is made that is nearly right.

    .venv/bin/pip install atheris
    .venv/bin/python scripts/fuzz.py -max_total_time=600

The options are libFuzzer's. Any finding ends the run with a traceback, and its bytes are kept in a file `crash-...`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

SEPARATOR = b"\xff\x00\xff"
"""Stands between the frames of a message in a file of the fuzzer's; no JSON holds it."""
WORDS = ("float32", "float16", "scene-linear", "data", "tangent-normal", "camera-normal", "dtype", "shape", "space", "buffer", "a")
DEEPEST = 4


def value(data: Any, depth: int = 0) -> Any:
    """Something that JSON can say, chosen by the fuzzer's bytes; often what an image looks like."""
    kind = data.ConsumeIntInRange(0, 8 if depth < DEEPEST else 5)
    if kind == 8:
        return {"dtype": value(data, DEEPEST), "shape": [side(data) for _ in range(3)], "space": word(data), "buffer": side(data)}
    if kind > 5:
        entries = range(data.ConsumeIntInRange(0, 4))
        return [value(data, depth + 1) for _ in entries] if kind == 6 else {word(data): value(data, depth + 1) for _ in entries}
    numbers = (data.ConsumeBool, data.ConsumeRegularFloat, lambda: data.ConsumeInt(8), lambda: side(data))
    return numbers[kind]() if kind < 4 else word(data) if kind == 4 else None


def side(data: Any) -> int:
    """A small number, as sides, steps and indices are."""
    return data.ConsumeIntInRange(0, 4)


def word(data: Any) -> str:
    """One of the protocol's words, or any text."""
    return data.PickValueInList(list(WORDS)) if data.ConsumeBool() else data.ConsumeUnicodeNoSurrogates(12)


def message(data: Any, kinds: dict[str, type], protocol: int) -> list[bytes]:
    """The frames of a message of one of these kinds, most of its fields there, each with anything in it."""
    name = data.PickValueInList(sorted(kinds))
    fields = [field.name for field in dataclasses.fields(kinds[name])]
    body = {field: value(data) for field in fields if data.ConsumeIntInRange(0, 15)}
    header = {"protocol": protocol if data.ConsumeIntInRange(0, 15) else value(data), "type": name, "request": side(data), "body": body}
    buffers = [data.ConsumeBytes(data.PickValueInList([0, 2, 4, 8, 12, 16, 36, 48])) for _ in range(side(data))]
    return [json.dumps(header).encode(), *buffers]


def main() -> int:
    """Run until libFuzzer has enough; 2 where Atheris is not installed."""
    try:
        import atheris
    except ImportError:
        print("Atheris is not installed: .venv/bin/pip install atheris (it exists for Linux and macOS).", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["blender_addon.wire"]):
        from blender_addon.wire import FROM_CLIENT, FROM_ENGINE, PROTOCOL, ProtocolError, VersionMismatch, decode
        from blender_addon.wire.reference import stand_in

    def once(data: bytes) -> None:
        registry = FROM_ENGINE if data[:1] < b"\x80" else FROM_CLIENT
        made = message(atheris.FuzzedDataProvider(data[1:]), registry.kinds, PROTOCOL)
        for frames in (data.split(SEPARATOR), made):
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
