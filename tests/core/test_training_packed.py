# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects packed samples: what is written comes back, crops hold what the pictures hold, a set grows while it is drawn from, and
every stage trains from packs."""

import dataclasses
import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
import torch

from engine_server.diffusion.loading import load_base, load_team
from engine_server.teamwork.pictures import to_pictures, to_pixels
from engine_server.train import pool as pools
from engine_server.train.config import ConfigError, DataSet
from engine_server.train.estimate import GIVEN, Teacher
from engine_server.train.graft import grafted
from engine_server.train.latents import LatentCache
from engine_server.train.packed import pack_files, pack_folder, read_pack, write_pack
from engine_server.train.pool import PixelPool
from engine_server.train.samples import Batch, SampleSet
from engine_server.train.sets import sample_set
from engine_server.train.team import stage_for

from .training import ROOT, flow_unet, losses_of, team_config, train, write_samples

MAPS = ("image", "albedo", "normals", "depth")


def random_samples(count: int, side: int = 32, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Colours, and a depth of one component."""
    random = np.random.default_rng(seed)
    made = [{name: random.integers(0, 256, (side, side, 3), np.uint8) for name in MAPS} for _ in range(count)]
    return [sample | {"depth": sample["depth"][..., 0]} for sample in made]


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory):
    return flow_unet(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def base(base_folder):
    return load_base(base_folder)


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs")
    write_pack(folder / "0.safetensors", random_samples(3))
    write_pack(folder / "1.safetensors", random_samples(2, seed=1))
    return folder


def test_packs_hold_what_was_written_and_grey_maps_once(packs):
    pack = read_pack(packs / "0.safetensors")
    samples = random_samples(3)
    assert {name: tuple(rows.shape) for name, rows in pack.items()} == {
        name: (3, 1 if name == "depth" else 3, 32, 32) for name in MAPS
    }
    for i, sample in enumerate(samples):
        assert np.array_equal(pack["albedo"][i].permute(1, 2, 0).numpy(), sample["albedo"])
        assert np.array_equal(pack["depth"][i, 0].numpy(), sample["depth"])


def test_grey_and_coloured_pictures_of_one_channel_fit_into_a_pack(tmp_path):
    grey = np.full((4, 4, 3), 7, np.uint8)
    write_pack(tmp_path / "p.safetensors", [{"image": grey}, {"image": random_samples(1, 4)[0]["image"]}])
    assert read_pack(tmp_path / "p.safetensors")["image"].shape == (2, 3, 4, 4)


def test_a_crop_is_the_same_part_of_all_channels_as_pictures_would_give(base, packs):
    drawn = pool(base, packs).draw(4, 8, np.random.default_rng(0))
    flat = [sample for seed, n in ((0, 3), (1, 2)) for sample in random_samples(n, seed=seed)]
    assert set(drawn.names) == {"image", "albedo", "depth", "normals"} and drawn.weight is None
    for row in range(4):
        found = [s for s in flat if np.allclose(drawn.latents["image"][row], encoded(base, s["image"], drawn, row, "image"), atol=1e-4)]
        assert found, "a crop of no sample"
        for name in ("albedo", "depth"):
            assert np.allclose(drawn.latents[name][row], encoded(base, found[0][name], drawn, row, name), atol=1e-4)


def pool(base, folder, **changes) -> PixelPool:
    """The packs as a data set."""
    return PixelPool(DataSet(str(folder), **changes), base, set(MAPS), {"albedo", "depth"})


def encoded(base, picture, drawn, row, name) -> np.ndarray:
    """The latents of that crop of a picture that is most like a drawn one, found by trying all places."""
    side = drawn.latents[name].shape[-1] * base.factor
    pixels = to_pixels([np.broadcast_to(np.atleast_3d(picture), (*picture.shape[:2], 3)).astype(np.float32) / 255])
    places = [(y, x) for y in range(picture.shape[0] - side + 1) for x in range(picture.shape[1] - side + 1)]
    crops = torch.cat([pixels[..., y : y + side, x : x + side] for y, x in places])
    latents = base.encode(crops)
    best = (latents - drawn.latents[name][row]).square().flatten(1).sum(1).argmin()
    return latents[best].numpy()


def test_names_are_changed_as_in_folders(base, packs):
    drawn = pool(base, packs, rename={"albedo": "image"}).draw(2, 8, np.random.default_rng(0))
    assert drawn.names == ["depth", "image", "normals"]  # its own image is not taken


def test_mirrored_normals_lean_the_other_way(base, tmp_path):
    slope = np.zeros((32, 32, 3), np.uint8) + np.uint8([200, 100, 230])
    slope[:, :16, 1] = 20
    write_pack(tmp_path / "p.safetensors", [{"image": slope, "albedo": slope, "normals": slope}] * 8)
    drawn = pool(base, tmp_path, mirror=True).draw(8, 16, np.random.default_rng(0))
    turned = np.ascontiguousarray(slope[:, ::-1])
    other = np.where([True, False, False], 255 - turned, turned)
    expected = {name: [latents(base, slope), latents(base, p)] for name, p in (("albedo", turned), ("normals", other))}
    fits = lambda name, i: [torch.allclose(drawn.latents[name][i], known, atol=1e-4) for known in expected[name]]  # noqa: E731
    rows = [{name: fits(name, i) for name in expected} for i in range(8)]
    assert all(row["albedo"] == row["normals"] and sum(row["albedo"]) == 1 for row in rows)
    assert {row["albedo"][1] for row in rows} == {True, False}


def latents(base, pixels: np.ndarray) -> torch.Tensor:
    """Of a whole picture."""
    return base.encode(to_pixels([pixels.astype(np.float32) / 255]))[0]


def test_a_set_grows_while_it_is_drawn_from_up_to_its_limit(base, tmp_path, monkeypatch):
    monkeypatch.setattr(pools, "LOOK_AGAIN", 0.0)
    write_pack(tmp_path / "0.safetensors", random_samples(2))
    growing, random = pool(base, tmp_path, limit=3), np.random.default_rng(0)
    growing.draw(1, 8, random)
    assert len(growing.places) == 2
    write_pack(tmp_path / "1.safetensors", random_samples(2, seed=1))
    growing.draw(1, 8, random)
    write_pack(tmp_path / "2.safetensors", random_samples(2, seed=2))
    growing.draw(1, 8, random)
    assert len(growing.places) == len(growing.blocks[0]["albedo"]) == 3


def test_the_folder_says_what_kind_of_set_it_is(base, packs, tmp_path):
    cache = LatentCache(base, tmp_path / "latents.safetensors")
    folder = write_samples(tmp_path / "samples")
    assert isinstance(sample_set(DataSet(str(folder)), cache, {"albedo"}, {"albedo"}), SampleSet)
    assert isinstance(sample_set(DataSet(str(packs)), cache, {"albedo"}, {"albedo"}), PixelPool)


def test_a_folder_of_samples_becomes_packs(tmp_path):
    folder = write_samples(tmp_path / "samples")
    for path in folder.glob("*/depth.png"):
        path.unlink()
    assert pack_folder(folder, tmp_path / "packs", 4) == 6
    assert [len(read_pack(path)["albedo"]) for path in pack_files(tmp_path / "packs")] == [4, 2]


def test_however_packs_are_joined_the_same_crops_are_drawn(base, tmp_path, monkeypatch):
    coloured = [{name: sample[name] for name in ("image", "albedo", "normals")} for sample in random_samples(7)]
    grey = [{name: np.repeat(picture[..., :1], 3, -1) for name, picture in sample.items()} for sample in coloured[5:]]
    for number, samples in enumerate((grey, coloured[:3], coloured[3:5])):
        write_pack(tmp_path / f"{number}.safetensors", samples)
    drawn = []
    for large, blocks in ((1000, 1), (0, 1)):
        monkeypatch.setattr(pools, "LARGE", large)
        made = pool(base, tmp_path)
        assert len(made.blocks) == blocks and len(made.places) == 7
        drawn.append(made.draw(16, 8, np.random.default_rng(3)).latents)
    for large, blocks in ((1000, 1), (0, 3)):
        monkeypatch.setattr(pools, "LARGE", large)
        folder = tmp_path / f"growing{blocks}"
        write_pack(folder / "0.safetensors", grey)
        made = pool(base, folder)
        for number, samples in enumerate((coloured[:3], coloured[3:5]), 1):
            write_pack(folder / f"{number}.safetensors", samples)
            made.look()
        assert len(made.blocks) == blocks
        drawn.append(made.draw(16, 8, np.random.default_rng(3)).latents)
    for other in drawn[1:]:
        assert all(torch.allclose(rows, other[name], atol=1e-6) for name, rows in drawn[0].items())


def test_mistakes_are_named(base, packs, tmp_path):
    with pytest.raises(ConfigError, match="differ in their channels"):
        pack_folder(write_samples(tmp_path / "samples"), tmp_path / "out")
    for side in (16, 32):
        write_pack(tmp_path / "sides" / f"{side}.safetensors", random_samples(1, side))
    with pytest.raises(ConfigError, match="32 x 32 pixels; expected 16 x 16"):
        pool(base, tmp_path / "sides")
    with pytest.raises(ConfigError, match="none of which is wanted"):
        PixelPool(DataSet(str(packs)), base, {"image"}, {"albedo"})
    with pytest.raises(ConfigError, match="too few for crops of 64"):
        PixelPool(DataSet(str(packs)), base, set(MAPS), {"albedo"}, 64)
    with pytest.raises(ConfigError, match="mask and side are for folders"):
        pool(base, packs, side=16)
    (tmp_path / "spoilt.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="spoilt.safetensors is no pack"):
        pool(base, tmp_path)
    write_pack(tmp_path / "spoilt.safetensors", random_samples(1))
    write_pack(tmp_path / "x.safetensors", [{"image": np.zeros((32, 32, 3), np.uint8)}])
    with pytest.raises(ConfigError, match="x.safetensors holds image; expected albedo, depth, image, normals"):
        pool(base, tmp_path)


GIVEN_ALBEDO = {"given": ("image", "albedo"), "wanted": ("albedo", "depth")}


def estimate(base_folder, packs, tmp_path, **options):
    """A run that reads an image and, now and then, an albedo."""
    data = (DataSet(str(packs), **GIVEN_ALBEDO), DataSet(str(packs), given=("image", "normals"), wanted=("depth",)))
    made = team_config(packs, base_folder, tmp_path / "run", stage="estimate", data=data, steps=60, options=options)
    return dataclasses.replace(made, network={})


def test_given_channels_lie_beside_the_first_and_count_for_nothing(base_folder, packs, tmp_path):
    """Against slow loops: which picture is given its albedo follows from the row, and no error of a given albedo counts."""
    stage = stage_for(estimate(base_folder, packs, tmp_path, known=1.0))
    assert stage.given == ["image", "albedo", "normals"]
    truth = {name: torch.randn(8, 4, 4, 4) for name in MAPS}
    seen = {}
    stage._answers = lambda rows: seen.update(rows=rows) or torch.zeros(2, 8, 4, 4, 4)
    loss = float(stage._loss(Batch(truth), stage.sets[0].data, np.random.default_rng(1)))
    image, albedo, normals = seen["rows"].chunk(3, 1)
    assert torch.equal(image, truth["image"]) and not normals.any()
    given = [bool(row.any()) for row in albedo]
    assert 0 < sum(given) < 8 and all(torch.equal(albedo[i], truth["albedo"][i]) for i in range(8) if given[i])
    errors = []
    for i in range(8):
        counted = ["depth"] if given[i] else ["depth", "albedo"]
        errors += [(stage.measure * truth[name][i].square()).mean() for name in counted]
    assert loss == pytest.approx(float(sum(errors)) / 16, rel=1e-4)

    always = stage._known(stage.sets[1].data, 500, np.random.default_rng(0))
    assert all(known.all() for known in always.values())
    often = stage._known(stage.sets[0].data, 4000, np.random.default_rng(0))["albedo"].mean()
    assert float(often) == pytest.approx(GIVEN, abs=0.03)


def test_it_learns_from_packs_and_a_run_goes_on_with_its_wide_layers(base_folder, packs, tmp_path):
    config = estimate(base_folder, packs, tmp_path, known=0.5)
    before = losses_of(stage_for(config))
    trained = train(config).stage
    assert losses_of(trained) < before
    again = stage_for(dataclasses.replace(config, base=config.output, output=str(tmp_path / "again")))
    assert losses_of(again) == pytest.approx(losses_of(trained), rel=1e-5)
    assert load_base(config.output).network.conv_in.weight.shape[1] == 4  # a plain base, as it was found


def test_a_grafted_team_answers_as_the_base_does_with_any_maps_given(base_folder, packs, tmp_path):
    config = estimate(base_folder, packs, tmp_path, known=0.5)
    trained = train(config).stage
    command = ["--estimate", config.output, "--out", str(tmp_path / "graft"), "--layers", ""]
    run([sys.executable, "-m", "engine_server.train.graft", *command], check=True, cwd=ROOT)
    team = load_team(tmp_path / "graft" / "base", tmp_path / "graft" / "team.safetensors")
    assert team.teammates == ("image.in", "albedo.in", "normals.in", "albedo.out", "depth.out")
    random = np.random.default_rng(0)
    pictures = {name: random.random((16, 32, 3)).astype(np.float32) for name in ("image", "albedo", "normals")}
    for given in (("image",), ("image", "albedo"), ("image", "albedo", "normals")):
        wanted = ("albedo", "depth") if given == ("image",) else ("depth",)
        made = team.run({name: pictures[name] for name in given}, wanted, steps=1, zero_start=True)
        encodings = {name: team.base.encode(to_pixels([pictures[name]])) for name in given}
        rows = torch.cat([encodings.get(name, torch.zeros_like(encodings["image"])) for name in trained.given], 1)
        with torch.no_grad():
            answers = dict(zip(trained.wanted, -trained._answers(rows), strict=True))
        for name in wanted:
            assert np.abs(to_pictures(team.base.decode(answers[name]))[0] - made[name]).max() < 1e-4
    teacher = Teacher(Path(config.output), "cpu")
    batch = Batch({name: team.base.encode(to_pixels([p])) for name, p in pictures.items()} | {"depth": torch.zeros(1, 4, 8, 16)})
    alone = team.run({"image": pictures["image"]}, "depth", steps=1, zero_start=True)["depth"]
    assert np.abs(to_pictures(team.base.decode(teacher.taught(batch).latents["depth"]))[0] - alone).max() < 1e-4
    assert grafted(teacher, layers="")[1].teammates == team.teammates


@pytest.mark.parametrize(("first", "wanted"), [(("albedo", "depth"), ("image", "depth")), (("image",), ("depth",))])
def test_sets_have_the_same_first_given_channel(base_folder, packs, tmp_path, first, wanted):
    data = (DataSet(str(packs), given=("image",), wanted=("albedo",)), DataSet(str(packs), given=first, wanted=("image", *wanted)))
    config = dataclasses.replace(estimate(base_folder, packs, tmp_path), data=data)
    with pytest.raises(ConfigError, match="with the same first channel"):
        stage_for(config)


def test_teams_and_unison_train_from_packs(base_folder, packs, tmp_path):
    data = (DataSet(str(packs), given=("image",), wanted=("albedo", "depth")),)
    team = team_config(packs, base_folder, tmp_path / "team", data=data, network={"profile": "SD2"}, steps=60, samples=2)
    options = {"teammates": ("image.in", "albedo.in", "mask.in", "albedo.out", "depth.out"), "hub": "albedo.out"}
    unison = team_config(packs, base_folder, tmp_path / "unison", stage="unison", data=data, steps=60, options=options)
    for config in (team, dataclasses.replace(unison, network={})):
        before = losses_of(stage_for(config))
        assert losses_of(train(config).stage) < before
    assert stage_for(team).pictures() == {}
