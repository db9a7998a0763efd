# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects how pictures come in, whoever reads them: 16 bits keep their values, and a broken file gets a sentence."""

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from engine_server.evaluate.pngs import read_bytes, size_of
from engine_server.train.bundle import mean_maps
from engine_server.train.config import ConfigError, DataSet
from engine_server.train.generate_materials import MaterialError, load_material
from engine_server.train.images import load_pictures
from engine_server.train.packed import pack_folder

GREY = 0.25
"""Of the 16-bit pictures here."""


def deep_grey(path, size=(8, 8)):
    """A PNG of 16-bit grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, round(GREY * 65535), np.uint16)).save(path)
    assert Image.open(path).mode == "I;16"


def test_sixteen_bit_grey_keeps_its_values_in_every_reader(tmp_path):
    deep_grey(tmp_path / "one" / "roughness.png")
    pictures, _ = load_pictures((DataSet(str(tmp_path)),))
    assert pictures[0].shape == (8, 8, 3) and pictures[0].dtype == np.uint8 and (pictures[0] == 64).all()
    assert mean_maps(tmp_path)["roughness"] == pytest.approx(GREY, abs=1e-4)
    for name in ("basecolor", "normal"):
        Image.new("RGB", (8, 8), (128, 128, 255)).save(tmp_path / "one" / f"{name}.png")
    assert (load_material(tmp_path / "one").roughness == 64).all()


def test_the_means_of_maps_are_those_of_every_kind_of_sample(tmp_path):
    """JPEG, arrays and packs are training data as PNG is; a bundle without means has nothing that a team could be held to."""
    values = np.random.default_rng(0).random((2, 8, 8, 3))
    for number, array in enumerate(values):
        (tmp_path / "folders" / str(number)).mkdir(parents=True)
        np.save(tmp_path / "folders" / str(number) / "albedo.npy", array)
        Image.new("L", (8, 8), 51).save(tmp_path / "folders" / str(number) / "roughness.jpg")
    pack_folder(tmp_path / "folders", tmp_path / "packs")
    for folder in ("folders", "packs"):
        means = mean_maps(tmp_path / folder)
        assert means["albedo"] == pytest.approx(values.mean((0, 1, 2)), abs=2e-3) and means["roughness"] == pytest.approx(0.2, abs=2e-3)


def test_eight_bits_are_what_the_file_holds(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "._normal.png").write_bytes(b"what macOS leaves beside files on other file systems")
    for name in ("basecolor", "normal", "roughness"):
        Image.fromarray(colours).save(tmp_path / "one" / f"{name}.png")
    assert all(np.array_equal(picture, colours) for picture in load_pictures((DataSet(str(tmp_path)),))[0])
    stored = load_material(tmp_path / "one")
    assert np.array_equal(stored.colour, colours)
    assert np.array_equal(stored.roughness, np.asarray(Image.fromarray(colours).convert("L")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_read_as_viewers_show_them(tmp_path, orientation):
    pixels = np.kron(np.random.default_rng(0).integers(0, 2, (2, 3, 1), np.uint8), np.full((8, 8, 3), 255, np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", exif=exif, quality=100)
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "photo.jpg"))
    assert size_of(tmp_path / "photo.jpg") == expected.size
    assert np.array_equal(read_bytes(tmp_path / "photo.jpg"), np.asarray(expected))


def test_a_broken_picture_gets_a_sentence(tmp_path):
    (tmp_path / "one").mkdir()
    for name in ("basecolor", "normal", "roughness"):
        (tmp_path / "one" / f"{name}.jpg").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="basecolor.jpg cannot be read"):
        load_pictures((DataSet(str(tmp_path)),))
    with pytest.raises(MaterialError, match="basecolor.jpg cannot be read"):
        load_material(tmp_path / "one")
