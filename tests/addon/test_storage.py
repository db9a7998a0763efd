# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels as files: what is prepared ahead of time is what would be made on the spot, and is taken once."""

from __future__ import annotations

import gc
import io

import numpy as np
import pytest
from PIL import Image

from blender_addon import storage, swatch
from blender_addon.colour import bytes_to_linear, srgb_to_linear
from blender_addon.png import LINES, encode_png
from blender_addon.wire import ChannelImage


@pytest.fixture
def values():
    """More lines than are packed at a time, and not a multiple of that."""
    return np.random.default_rng(0).random((2 * LINES + 5, 7, 3), np.float32)


@pytest.mark.parametrize("channel", ["albedo", "normals", "roughness", "shading", "depth"])
def test_a_prepared_file_is_the_one_that_would_be_made(values, channel):
    made = storage.file_of(values, channel)
    storage.prepare(channel, ChannelImage(values, "data"))
    (waiting,) = [file for reference, file in storage.PREPARED._made.values() if reference() is values]
    assert storage.file_of(values, channel) is waiting and waiting == made
    assert not storage.PREPARED


def test_a_file_belongs_to_its_array_and_channel_and_goes_with_it(values):
    storage.prepare("albedo", ChannelImage(values, "data"))
    other = values[::-1].copy()
    assert storage.file_of(other, "albedo") == storage.encode(other, "albedo")
    assert storage.file_of(values, "height") == storage.encode(values, "height")
    assert len(storage.PREPARED) == 1
    del values
    gc.collect()


def test_nothing_is_kept_of_an_array_that_is_gone():
    array = np.zeros((4, 4, 3), np.float32)
    storage.prepare("albedo", ChannelImage(array, "data"))
    assert storage.PREPARED
    del array
    gc.collect()
    assert not storage.PREPARED


def test_lines_are_right_across_the_parts_they_are_packed_in(values):
    shown = np.asarray(Image.open(io.BytesIO(encode_png(values))))
    assert np.array_equal(shown, np.floor(values * 255 + 0.5).astype(np.uint8))


def test_the_table_of_bytes_is_the_curve():
    bytes_of = (np.arange(256, dtype=np.float32) / 255).reshape(16, 16, 1)
    assert np.array_equal(bytes_to_linear(bytes_of), srgb_to_linear(bytes_of))


def test_a_prepared_ball_is_the_one_that_would_be_made_and_is_taken_once(values):
    maps = {"albedo": values, "roughness": values[..., :1].copy()}
    swatch.prepare(maps)
    ((_, waiting),) = swatch.PREPARED._made.values()
    assert swatch.ball_of(maps) is waiting and np.array_equal(waiting, swatch.ball(maps))
    assert not swatch.PREPARED and np.array_equal(swatch.ball_of(maps), waiting)
    assert np.array_equal(swatch.ball_of({}), swatch.ball({}))
