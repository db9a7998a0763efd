# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects what becomes packs and what are none: every kind of file that samples may be, a sentence for what bytes cannot hold,
crops as large as packs allow; and that files appear whole when several write them."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from engine_server.diffusion.loading import load_base
from engine_server.train.config import ConfigError, DataSet
from engine_server.train.latents import LatentCache
from engine_server.train.packed import main, pack_files, pack_folder, read_pack, write_pack
from engine_server.train.pool import PixelPool
from engine_server.train.samples import SampleSet
from engine_server.train.sets import sample_set
from engine_server.whole import whole_file, whole_folder

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


def test_latents_that_are_kept_among_the_data_are_no_packs(tmp_path):
    """A second run finds them there."""
    base, folder = load_base(flow_unet(tmp_path / "base")), write_samples(tmp_path / "samples", count=2)
    for _ in range(2):
        cache = LatentCache(base, folder / "latents.safetensors")
        made = sample_set(DataSet(str(folder)), cache, {"albedo"}, {"albedo"})
        assert isinstance(made, SampleSet)
        cache.fill(made.pictures)
    write_pack(folder / "0.safetensors", [{"albedo": np.zeros((32, 32, 3), np.uint8)}])
    assert [path.name for path in pack_files(folder)] == ["0.safetensors"]


def test_two_that_write_one_file_do_not_meet(tmp_path):
    target = tmp_path / "file"
    with whole_file(target) as first:
        first.write_text("first")
        with whole_file(target) as second:
            second.write_text("second")
        assert target.read_text() == "second" and first.read_text() == "first"
    assert target.read_text() == "first"
    with pytest.raises(ValueError), whole_file(target) as part:
        part.write_text("third")
        raise ValueError
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and target.read_text() == "first"


def test_what_a_killed_writer_left_goes_after_a_while(tmp_path):
    left, fresh, other = (tmp_path / name for name in ("file.12-abc.partial", "file.13-abc.partial", "file2.12-abc.partial"))
    for path in (left, fresh, other):
        path.write_text("")
    for path in (left, other):
        os.utime(path, (0, 0))
    with whole_file(tmp_path / "file") as part:
        part.write_text("")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "file", fresh, other])


def test_who_may_read_other_files_may_read_weights(tmp_path):
    with whole_file(tmp_path / "weights.safetensors") as part:
        save_file({"x": torch.zeros(1)}, part)
    with whole_folder(tmp_path / "vae") as place:
        save_file({"x": torch.zeros(1)}, place / "weights.safetensors")
    (tmp_path / "usual").write_text("")
    usual = (tmp_path / "usual").stat().st_mode
    assert [path.stat().st_mode for path in tmp_path.rglob("*.safetensors")] == [usual, usual]
