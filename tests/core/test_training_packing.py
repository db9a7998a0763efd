# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects what becomes packs: every kind of file that samples may be, a sentence for what bytes cannot hold, and crops that
are as large as packs allow."""

import numpy as np
import pytest
from PIL import Image

from engine_server.diffusion.loading import load_base
from engine_server.train.config import ConfigError, DataSet
from engine_server.train.packed import main, pack_files, pack_folder, read_pack, write_pack
from engine_server.train.pool import PixelPool

from .training import flow_unet, write_samples


def test_every_kind_of_picture_is_packed(tmp_path):
    folder = write_samples(tmp_path / "samples", count=2)
    for number in range(2):
        np.save(folder / str(number) / "depth.npy", np.full((32, 32), 0.4 + number / 5, np.float32))
        (folder / str(number) / "depth.png").unlink(missing_ok=True)
        Image.open(folder / str(number) / "flash.png").save(folder / str(number) / "image.jpg", quality=95)
        (folder / str(number) / "flash.png").unlink()
    assert pack_folder(folder, tmp_path / "packs") == 2
    pack = read_pack(pack_files(tmp_path / "packs")[0])
    assert set(pack) == {"albedo", "depth", "image"}
    assert [int(rows.max()) for rows in pack["depth"]] == [102, 153]
    photo = np.asarray(Image.open(folder / "1" / "image.jpg"))
    assert np.array_equal(pack["image"][1].permute(1, 2, 0).numpy(), photo)


def test_what_bytes_cannot_hold_is_refused(tmp_path, capsys):
    folder = write_samples(tmp_path / "samples", count=1)
    np.save(folder / "0" / "halfway.npy", np.full((32, 32, 3), 2.0, np.float32))
    with pytest.raises(ConfigError, match="holds halfway, which exceeds 0..1 and cannot be stored in bytes; take it out"):
        pack_folder(folder, tmp_path / "packs")
    assert not pack_files(tmp_path / "packs")
    assert main(["--data", str(folder), "--out", str(tmp_path / "packs")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_packs_smaller_than_a_crop_are_taken_whole(tmp_path):
    """As samples in folders are: sides are cut to what the base takes."""
    base, folder = load_base(flow_unet(tmp_path / "base")), tmp_path / "packs"
    pictures = np.random.default_rng(0).integers(0, 256, (3, 26, 36, 3), np.uint8)
    write_pack(folder / "0.safetensors", [{"image": p, "albedo": p} for p in pictures])
    pool = PixelPool(DataSet(str(folder)), base, {"image", "albedo"}, {"albedo"}, 16)
    side = 26 // base.multiple * base.multiple // base.factor
    assert base.multiple > base.factor and side < 16
    for cells, expected in ((8, 8), (16, side), (32, side)):
        drawn = pool.draw(2, cells, np.random.default_rng(0))
        assert drawn.latents["albedo"].shape == (2, base.channels, expected, expected)
