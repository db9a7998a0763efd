# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the generator of training photos: packs hold its samples and none of what is held out, shares are as asked."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine_server.train.generate import generate_packs, make_sample, recipe
from engine_server.train.generate_materials import is_for_validation, material_folders
from engine_server.train.packed import pack_files, read_pack


def write_materials(folder: Path) -> Path:
    """Small scans of noise, one of which is held out at a share of a half."""
    names, random = [f"stone{n}" for n in range(8)], np.random.default_rng(0)
    held = [name for name in names if is_for_validation(name, 0.5)]
    for name in (held[0], *(n for n in names if n not in held)):
        (folder / name).mkdir(parents=True)
        for part, mode in (("basecolor", "RGB"), ("normal", "RGB"), ("roughness", "L")):
            Image.fromarray(random.integers(100, 156, (64, 64, 3), np.uint8)).convert(mode).save(folder / name / f"{part}.png")
    return folder


def test_samples_are_packed_as_they_are_made_and_none_that_is_held_out(tmp_path):
    plan = recipe(write_materials(tmp_path / "scans"), None, 32, 0, 0.5)
    assert plan.validation and [plan.is_validation(n) for n in range(6)] == [False, True] * 3
    assert generate_packs(plan, tmp_path / "packs", 0, 6, 2) == 3
    files = pack_files(tmp_path / "packs")
    packs = [read_pack(path) for path in files]
    assert [len(pack["image"]) for pack in packs] == [2, 1]
    for number, (pack, row) in {0: (0, 0), 2: (0, 1), 4: (1, 0)}.items():
        _, made = make_sample(plan, number)
        photo = made.pop("flash", None) if "flash" in made else made.pop("env")
        assert np.array_equal(packs[pack]["image"][row].permute(1, 2, 0).numpy(), photo)
        for name, pixels in made.items():
            found = packs[pack][name][row].permute(1, 2, 0).numpy()
            assert np.array_equal(np.broadcast_to(found, (32, 32, 3)), np.broadcast_to(np.atleast_3d(pixels), (32, 32, 3)))
    files[1].unlink()
    before = files[0].stat().st_mtime_ns
    assert generate_packs(plan, tmp_path / "packs", 0, 6, 2) == 1 and files[0].stat().st_mtime_ns == before


@pytest.mark.parametrize(("share", "expected"), [(0.0, "stone"), (1.0, "procedural")])
def test_the_share_of_procedural_surfaces_is_as_asked(tmp_path, share, expected):
    plan = recipe(write_materials(tmp_path / "scans"), None, 16, 0, 0.5, share)
    assert all(expected in make_sample(plan, number)[0] for number in range(0, 12, 2))


def test_a_material_that_has_two_names_counts_once(tmp_path):
    """Whatever the second name: it would be held out by one of some names, and trained on by the other."""
    folder = write_materials(tmp_path / "scans")
    names = sorted(path.name for path in folder.iterdir())
    for number in range(20):
        (folder / f"again{number}").symlink_to(folder / names[number % len(names)])
    (tmp_path / "store").mkdir()
    shutil.copytree(folder / names[0], tmp_path / "store" / "other")
    for name in ("link_b", "link_a"):
        (folder / name).symlink_to(tmp_path / "store" / "other")
    assert [path.name for path in material_folders(folder)] == ["link_a", *names]
    plan = recipe(folder, None, 32, 0, 0.5)
    assert not {path.resolve() for path in plan.train} & {path.resolve() for path in plan.validation}
