# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten thousand mutated messages: each is understood or refused in one sentence; nothing crashes, hangs, or piles up in memory."""

from __future__ import annotations

import json
import random
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blender_addon.wire import FROM_CLIENT, ProtocolError, VersionMismatch, decode, encode
from blender_addon.wire.reference import Reference, stand_in

from .mutations import mutated
from .test_messages import changed, frames_of, image, messages

COUNT = 10_000


def understood(frames: list[bytes]) -> bool:
    """Whether a message was understood; any other error than a refusal fails the test."""
    try:
        decode(frames, FROM_CLIENT, stand_in)
    except (ProtocolError, VersionMismatch) as error:
        assert str(error).endswith((".", "!")) and "\n" not in str(error) and len(str(error)) < 2000
        return False
    return True


def seeds() -> list[list[bytes]]:
    """A valid message of every kind that a client sends, and one whose image is said to lie in a file."""
    in_a_file = image(shape=[128, 128, 1]) | {"job_id": "in-a-file"}
    found = [frames_of(), [*changed(frames_of(), body=in_a_file)[:2], Reference("0" * 32, 65_536, (1, 2)).frame()]]
    for kind in FROM_CLIENT.kinds.values():

        @settings(max_examples=1, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(messages(kind))
        def keep(message):
            found.append([bytes(frame) for frame in encode(message, 3)])

        keep()
    return found


def test_ten_thousand_mutations_are_understood_or_refused_and_leave_no_memory_behind():
    chance, valid = random.Random(0), seeds()
    results = {True: 0, False: 0}
    tracemalloc.start()
    try:
        for number in range(COUNT):
            if number == COUNT // 10:
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
            results[understood(mutated(chance.choice(valid), chance))] += 1
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert results[False] > COUNT // 2 and results[True] > COUNT // 100
    assert after - before < 1 << 20 and peak - before < 8 << 20


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_any_bytes_are_refused(frames, with_magic):
    understood([b"TEAMWORK", *frames] if with_magic else frames)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(JSON, st.sampled_from(["protocol", "type", "request", "body"]))
def test_any_json_in_any_place_of_the_header_is_understood_or_refused(value, place):
    frames = frames_of()
    header = json.loads(frames[1]) | {place: value}
    understood([frames[0], json.dumps(header).encode("utf-8", "surrogatepass"), *frames[2:]])


@pytest.mark.parametrize("entry", ["dtype", "shape", "space", "buffer"])
@settings(max_examples=150, deadline=None)
@given(value=JSON | st.lists(st.integers(-(2**70), 2**70), max_size=5))
def test_any_json_in_any_place_of_an_image_is_understood_or_refused(entry, value):
    frames = frames_of()
    header = json.loads(frames[1])
    header["body"]["inputs"]["image"][entry] = value
    understood([frames[0], json.dumps(header).encode("utf-8", "surrogatepass"), *frames[2:]])
