# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of files that were read serve again: never while somebody else may read them, and within bounds."""

from __future__ import annotations

import os

import numpy as np
import pytest

from blender_addon.wire import FROM_CLIENT, ChannelImage, HandoverLost, decode
from blender_addon.wire import handover as module
from blender_addon.wire.handover import Folder
from blender_addon.wire.reference import Reference

from .test_handover import folder, handed, picture, place, the_file  # noqa: F401 (fixtures)


def test_a_file_that_was_taken_over_is_used_again_under_another_name(place, folder):  # noqa: F811
    first, file = handed(folder, picture()), the_file(place)
    number, name = file.stat().st_ino, file.name
    folder.recycle(name)
    smaller = ChannelImage(picture(seed=1).data[:150], "data")
    second = handed(folder, smaller)
    assert the_file(place).stat().st_ino == number and the_file(place).name != name
    assert np.array_equal(decode(second, FROM_CLIENT, folder.take).message.inputs["image"].data, smaller.data)
    with pytest.raises(HandoverLost, match="not there"):
        decode(first, FROM_CLIENT, folder.take)


def test_a_file_that_others_may_read_is_not_written_in_until_its_owner_lets_it_go(place, folder):  # noqa: F811
    sent, other = picture(), picture(seed=1)
    frames = handed(folder, sent)
    name = Reference.parse(frames[2]).name
    number = (place / name).stat().st_ino
    folder.recycle(name, leave=True)
    handed(folder, other)
    assert np.array_equal(decode(frames, FROM_CLIENT, folder.take).message.inputs["image"].data, sent.data)
    folder.remove(name)
    again = handed(folder, other)
    assert (place / Reference.parse(again[2]).name).stat().st_ino == number
    assert np.array_equal(decode(again, FROM_CLIENT, folder.take).message.inputs["image"].data, other.data)


def test_nobody_writes_in_a_file_that_somebody_reads(place, folder):  # noqa: F811
    sent = picture()
    reference = Reference.parse(handed(folder, sent)[2])
    with folder._opened(reference.name) as handle:
        folder.recycle(reference.name)
        other = handed(folder, picture(seed=1))
        assert np.array_equal(np.frombuffer(os.read(handle, reference.size), np.float32), sent.data.ravel())
    assert np.array_equal(decode(other, FROM_CLIENT, folder.take).message.inputs["image"].data, picture(seed=1).data)


def test_a_file_that_is_being_written_in_is_not_read(place, folder):  # noqa: F811
    reference = Reference.parse(handed(folder, picture())[2])
    with folder._made("1" * 32, 10):
        pass
    folder.recycle(reference.name)
    with folder._made(reference.name, reference.size), pytest.raises(HandoverLost, match="taken by somebody else"):
        folder.read(reference)


def test_only_so_much_is_kept_for_its_pages_and_nothing_after_closing(place, monkeypatch):  # noqa: F811
    monkeypatch.setattr(module, "MOST_SPARE", 1_000_000)
    folder = Folder(str(place))
    for seed in range(4):
        reference = Reference.parse(folder.lay_down(memoryview(picture(seed=seed).data).cast("B")))
        (place / reference.name).rename(place / (f"{seed}" * 32))  # out of the way of the next one
    for seed in range(4):
        folder.recycle(f"{seed}" * 32)
    assert sum(file.stat().st_size for file in place.iterdir()) == 2 * 480_000
    folder.close()
    assert list(place.iterdir()) == []
