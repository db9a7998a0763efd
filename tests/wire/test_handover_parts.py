# SPDX-License-Identifier: GPL-3.0-or-later
"""Images so large that their files are read in several parts side by side."""

from __future__ import annotations

import os

import numpy as np
import pytest

from blender_addon.wire import FROM_CLIENT, ChannelImage, HandoverLost, decode
from blender_addon.wire import handover as module

from .test_handover import folder, handed, place, the_file  # noqa: F401 (fixtures)


def large() -> ChannelImage:
    """A picture of so many bytes that they are read in several parts."""
    data = np.random.default_rng(5).random((1801, 1700, 3), np.float32)
    assert data.nbytes // module.PART_BYTES > 4
    return ChannelImage(data, "data")


@pytest.mark.parametrize("processors", [1, 3, 64])
def test_a_very_large_image_is_read_in_parts_and_comes_back_exactly(folder, monkeypatch, processors):  # noqa: F811
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    sent = large()
    read = decode(handed(folder, sent), FROM_CLIENT, folder.take).message
    assert np.array_equal(read.inputs["image"].data, sent.data)


def test_a_very_large_file_that_is_cut_short_while_it_is_read_is_refused(place, folder, monkeypatch):  # noqa: F811
    frames, empty = handed(folder, large()), np.empty

    def cut(*arguments):
        os.truncate(the_file(place), 20_000_000)
        return empty(*arguments)

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(module.np, "empty", cut)
    with pytest.raises(HandoverLost, match="shorter than was said"):
        decode(frames, FROM_CLIENT, folder.take)


def test_where_no_thread_is_to_be_had_one_does_it_all(folder, monkeypatch):  # noqa: F811
    class NoThreads(module.ThreadPoolExecutor):
        def submit(self, *work):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module, "ThreadPoolExecutor", NoThreads)
    sent = large()
    read = decode(handed(folder, sent), FROM_CLIENT, folder.take).message
    assert np.array_equal(read.inputs["image"].data, sent.data)
