# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects what `evaluate` finds and reads in folders, and its one sentence for every wrong folder, file or option."""

import argparse
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from engine_server.commands import evaluate as command
from engine_server.evaluate import pngs
from engine_server.evaluate.errors import DataError
from engine_server.evaluate.samples import check_whole, find_samples, left_out, load_case
from engine_server.train.files import load_picture


def _png16(path, values):
    """A 16-bit PNG by hand, since Pillow writes no 16-bit colour."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows, columns, components = values.shape
    header = struct.pack(">IIBBBBB", columns, rows, 16, {1: 0, 3: 2, 4: 6}[components], 0, 0, 0)
    data = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    )


# What is found


def test_one_sample_a_folder_of_samples_and_nested_folders(write, tmp_path):
    write.sample(tmp_path / "a" / "stone")
    write.sample(tmp_path / "b" / "deep" / "wood", kinds=("env", "flash"))
    assert [s.name for s in find_samples(tmp_path)] == ["a/stone", "b/deep/wood"]
    assert list(find_samples(tmp_path)[1].photos) == ["flash", "env"]
    assert [s.name for s in find_samples(tmp_path / "a" / "stone")] == ["stone"]


def test_links_to_samples_are_samples_and_a_link_into_itself_is_not_followed(write, tmp_path):
    write.sample(tmp_path / "store" / "one")
    write.sample(tmp_path / "store" / "more" / "two")
    data = tmp_path / "data"
    write.sample(data / "own")
    (data / "first").symlink_to(tmp_path / "store" / "one")
    (data / "others").symlink_to(tmp_path / "store" / "more")
    (data / "own" / "again").symlink_to(data)
    (tmp_path / "link").symlink_to(data)
    assert [s.name for s in find_samples(data)] == ["first", "others/two", "own"]
    assert [s.name for s in find_samples(tmp_path / "link")] == ["first", "others/two", "own"]


@pytest.mark.parametrize("name", ["gone", "own/albedo.png"])
def test_a_link_to_nothing_is_named(write, tmp_path, name):
    write.sample(tmp_path / "own")
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).symlink_to("moved/away")
    with pytest.raises(DataError, match=rf"{name} is a link to moved/away, which is not there: mend"):
        find_samples(tmp_path)


def test_any_subset_of_maps_is_a_sample(write, tmp_path):
    write.picture(tmp_path / "s" / "image.png", (1, 2, 3))
    write.picture(tmp_path / "s" / "roughness.png", 9)
    assert list(find_samples(tmp_path)[0].maps) == ["roughness"]


@pytest.mark.parametrize("components", [1, 3, 4])
def test_sixteen_bits_are_read_in_full(tmp_path, components):
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, components), np.uint16)
    _png16(tmp_path / "x.png", values)
    expected = values[..., :3] / 65535 if components >= 3 else values.repeat(3, axis=-1) / 65535
    np.testing.assert_allclose(pngs.read(tmp_path / "x.png"), expected, atol=1e-7)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_eight_bits_of_every_kind_are_read(tmp_path, mode):
    Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode).save(tmp_path / "x.png")
    np.testing.assert_array_equal(pngs.read(tmp_path / "x.png"), np.ones((2, 3, 3)))


def test_large_pictures_are_reduced_in_linear_light_and_small_ones_kept(write, tmp_path):
    stripes = np.zeros((32, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    write.sample(tmp_path, size=(64, 32))
    Image.fromarray(stripes).save(tmp_path / "flash.png")
    Image.fromarray(stripes).save(tmp_path / "roughness.png")
    sample = find_samples(tmp_path)[0]
    case = load_case(sample, "flash", 32)
    assert case.photo.shape == (16, 32, 3)
    np.testing.assert_allclose(case.photo, 0.5 ** (1 / 2.2), atol=1e-5)
    np.testing.assert_allclose(case.truth["roughness"], 0.5, atol=1e-5)
    np.testing.assert_allclose(case.truth["normals"][0, 0], np.array(write.FLAT) / 255, atol=1e-4)
    for size in (0, 64, 500):
        assert load_case(sample, "flash", size).photo.shape == (32, 64, 3)


def leaning() -> np.ndarray:
    """Normals that lean to the left and to the right in turn, by 53 degrees, 8 x 16 x 3 in bytes."""
    normals = np.zeros((8, 16, 3), np.float32) + np.float32([0.8, 0.0, 0.6])
    normals[:, ::2, 0] = -0.8
    return np.rint((normals * 0.5 + 0.5) * 255).astype(np.uint8)


def test_reduced_normals_are_of_unit_length(write, tmp_path):
    write.sample(tmp_path, size=(16, 8))
    Image.fromarray(leaning()).save(tmp_path / "normals.png")
    evaluated = load_case(find_samples(tmp_path)[0], "flash", 8).truth["normals"]
    for picture in (evaluated, load_picture(tmp_path / "normals.png", "normals", 4)):
        assert picture.shape == (4, 8, 3)
        np.testing.assert_allclose(np.linalg.norm(picture * 2 - 1, axis=-1), 1.0, atol=1e-3)


def test_what_is_not_read_is_said(write, tmp_path, capsys):
    write.sample(tmp_path / "stone")
    write.sample(tmp_path / "wood")
    assert left_out(tmp_path) == []
    Image.open(tmp_path / "stone" / "albedo.png").save(tmp_path / "stone" / "albedo.jpg")
    (tmp_path / "notes.jpg").write_bytes(b"")
    assert left_out(tmp_path) == []  # that albedo is there as .png, too
    (tmp_path / "stone" / "albedo.png").unlink()
    assert left_out(tmp_path) == ["only .png is read: stone/albedo.jpg left out"]
    np.save(tmp_path / "wood" / "depth.npy", np.zeros((12, 16), np.float32))
    (tmp_path / "wood" / "again").symlink_to(tmp_path)
    assert left_out(tmp_path) == ["only .png is read: stone/albedo.jpg and 1 more left out"]
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.main(parser.parse_args(["--data", str(tmp_path), "--size", "16"])) == 0
    assert "note: only .png is read: stone/albedo.jpg and 1 more left out" in capsys.readouterr().out


def test_pictures_by_other_names_and_half_samples_are_said(write, tmp_path):
    for name in ("stone", "wood", "sky", "maps"):
        write.sample(tmp_path / name)
    (tmp_path / "stone" / "albedo.png").rename(tmp_path / "stone" / "basecolor.png")
    for name in ("albedo", "roughness", "metalness", "normals"):
        (tmp_path / "sky" / f"{name}.png").unlink()
    (tmp_path / "maps" / "flash.png").unlink()
    assert [sample.name for sample in find_samples(tmp_path)] == ["stone", "wood"]
    assert left_out(tmp_path) == [
        "called neither like a photo nor like a map: basecolor left out",
        "photos without true maps: sky left out",
        "maps without a photo: maps left out",
    ]


# What is refused


def test_a_file_that_is_cut_short_is_named_before_anything_runs(write, tmp_path):
    write.sample(tmp_path / "stone")
    path = tmp_path / "stone" / "roughness.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16), np.uint8)).save(path)
    find_samples(tmp_path)
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(DataError, match="roughness.png is not a whole PNG"):
        check_whole(find_samples(tmp_path))


def _missing(write, tmp_path):
    return tmp_path / "nowhere"


def _empty(write, tmp_path):
    return tmp_path


def _a_file(write, tmp_path):
    write.picture(tmp_path / "flash.png", 0)
    return tmp_path / "flash.png"


def _wrong(write, tmp_path):
    write.picture(tmp_path / "holiday.png", 0)
    return tmp_path


def _no_truth(write, tmp_path):
    write.picture(tmp_path / "stone" / "flash.png", 0)
    return tmp_path


def _other_size(write, tmp_path):
    write.sample(tmp_path / "stone")
    write.picture(tmp_path / "stone" / "normals.png", write.FLAT, (8, 8))
    return tmp_path


def _no_image(write, tmp_path):
    write.sample(tmp_path / "stone")
    (tmp_path / "stone" / "albedo.png").write_bytes(b"not a picture")
    return tmp_path


@pytest.mark.parametrize(
    "make, words",
    [
        (_missing, "nowhere is not a folder; expected .*flash.png.*albedo.png"),
        (_empty, "is empty; expected"),
        (_a_file, "flash.png is not a folder; expected"),
        (_wrong, "holds no sample; expected"),
        (_no_truth, r"photos \(stone\) but no true maps"),
        (_other_size, "sample stone do not fit: normals.png is 8 x 8 pixels, flash.png is 16 x 12"),
        (_no_image, "albedo.png is not a readable image"),
    ],
)
def test_a_wrong_folder_gets_one_sentence_and_exit_code_two(write, tmp_path, capsys, make, words):
    folder = make(write, tmp_path)
    with pytest.raises(DataError, match=words):
        find_samples(folder)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.main(parser.parse_args(["--data", str(folder)])) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.strip().splitlines()) == 1


def test_a_picture_cut_short_gets_a_sentence(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "flash.png")
    whole = (tmp_path / "flash.png").read_bytes()
    (tmp_path / "flash.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="flash.png cannot be read"):
        pngs.read(tmp_path / "flash.png")


@pytest.mark.parametrize("reads", [pngs.read, pngs.size_of])
def test_no_file_and_a_folder_are_said_plainly(tmp_path, reads):
    with pytest.raises(DataError) as gone:
        reads(tmp_path / "missing.png")
    with pytest.raises(DataError) as folder:
        reads(tmp_path)
    assert str(gone.value) == f"There is no file {tmp_path / 'missing.png'}."
    assert str(folder.value) == f"{tmp_path} is a folder; expected a picture."


@pytest.mark.parametrize("option", [["--steps", "-1"], ["--size", "big"], ["--limit", "1.5"]])
def test_a_wrong_number_is_refused_by_the_parser(option, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--data", "x", *option])
    assert "not a whole number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--held-out", "x"], "--held-out is for comparison with --synthesis"),
        (["--holes", "--synthesis", "2"], "give one of them"),
        (["--holes", "--lpips"], "--lpips does nothing with --holes"),
        (["--synthesis", "2", "--lpips"], "--lpips does nothing with --synthesis"),
        (["--holes", "--steps", "1,2"], "--steps takes one number with --holes"),
        (["--synthesis", "2", "--steps", "1,2"], "--steps takes one number with --synthesis"),
        (["--contact-sheet", "x.txt"], "--contact-sheet is x.txt; it is a PNG, so name a file that ends in .png."),
    ],
)
def test_options_that_would_do_nothing_are_refused(write, tmp_path, capsys, options, words):
    write.sample(tmp_path)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.main(parser.parse_args(["--data", str(tmp_path), *options])) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == "" and len(captured.err.strip().splitlines()) == 1
