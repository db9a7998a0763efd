# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects what training reads: any subset of channels in each sample, weights, sizes, and a sentence for each wrong file."""

import numpy as np
import pytest
import torch
from PIL import Image

from engine_server.diffusion.loading import load_base
from engine_server.teamwork.pictures import to_pixels
from engine_server.train.config import DataSet
from engine_server.train.errors import ConfigError
from engine_server.train.files import find_samples, load_picture
from engine_server.train.latents import MASK, LatentCache, Picture
from engine_server.train.samples import Batch, SampleSet
from engine_server.train.team import stage_for

from .tiny import tiny_base
from .training import team_config, train, write_samples

CHANNELS = {"image", "albedo", "depth"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base("SD3", tmp_path_factory.mktemp("base"))


def picture(path, value=128, size=(32, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(value, int) else "RGB", size, value).save(path)
    return path


def sample_set(data, base, folder, outputs=("albedo", "depth")):
    cache = LatentCache(load_base(base), folder / "latents.safetensors")
    made = SampleSet(data, cache, CHANNELS, set(outputs))
    cache.fill(made.pictures)
    return made


# Heterogeneous samples


def test_every_sample_is_drawn_alike_with_all_channels_that_it_has(base, tmp_path):
    for name, channels in {"a": "image albedo", "b": "image albedo depth", "c": "image depth", "d": "image depth"}.items():
        for number, channel in enumerate(channels.split()):
            picture(tmp_path / "data" / name / f"{channel}.png", 50 * number + ord(name))
    made = sample_set(DataSet(str(tmp_path / "data")), base, tmp_path)
    random, seen = np.random.default_rng(0), {}
    for _ in range(400):
        batch = made.draw(3, 8, random)
        assert all(rows.shape == (3, 4, 8, 8) for rows in batch.latents.values()) and batch.weight is None
        seen[tuple(batch.names)] = seen.get(tuple(batch.names), 0) + 1
    assert set(seen) == {("albedo", "image"), ("albedo", "depth", "image"), ("depth", "image")}
    assert 160 < seen["depth", "image"] < 240 and 70 < seen["albedo", "image"] < 130


def test_samples_without_anything_wanted_are_left_out_and_a_set_of_them_is_refused(base, tmp_path):
    for name, channel in (("a", "albedo"), ("b", "image")):
        picture(tmp_path / "data" / name / f"{channel}.png")
    made = sample_set(DataSet(str(tmp_path / "data")), base, tmp_path)
    assert [sample.folder.name for sample in made.samples] == ["a"]
    with pytest.raises(ConfigError, match="only albedo, image, none of which"):
        sample_set(DataSet(str(tmp_path / "data"), wanted=("depth",)), base, tmp_path)


def test_a_team_trains_on_sets_that_differ_in_channels_sizes_and_weight(base, tmp_path):
    write_samples(tmp_path / "one")
    for number in range(2):
        picture(tmp_path / "two" / str(number) / "image.png", (90, 80, 70), (40, 24))
        picture(tmp_path / "two" / str(number) / "depth.png", 60 * number, (40, 24))
    data = (DataSet(str(tmp_path / "one"), rename={"flash": "image"}, weight=3.0), DataSet(str(tmp_path / "two")))
    stage = stage_for(team_config(None, base, tmp_path / "run", data=data, options={"keep": 0.3}))
    assert stage.weights == pytest.approx([0.75, 0.25])
    losses = [float(stage.loss(number).detach()) for number in range(30)]
    assert np.isfinite(losses).all()


def test_sets_of_small_and_large_pictures_with_small_and_large_crops(base, tmp_path):
    write_samples(tmp_path / "small", size=18)
    write_samples(tmp_path / "large", size=40)
    data = tuple(DataSet(str(tmp_path / name), rename={"flash": "image"}) for name in ("small", "large"))
    stage = stage_for(team_config(None, base, tmp_path / "run", data=data, options={"sizes": [(16, 3), (32, 1)]}))
    seen = set()
    for made in stage.sets:
        draw = made.draw
        made.draw = lambda *args, draw=draw: seen.add(next(iter((b := draw(*args)).latents.values())).shape) or b
    for number in range(40):
        stage.loss(number)
    assert seen == {(3, 4, 8, 8), (1, 4, 8, 8), (1, 4, 16, 16)}


def test_a_set_of_weight_zero_is_never_drawn(base, tmp_path):
    write_samples(tmp_path / "one")
    data = (DataSet(str(tmp_path / "one"), rename={"flash": "image"}), DataSet(str(tmp_path / "one"), weight=0.0))
    stage = stage_for(team_config(None, base, tmp_path / "run", data=data))
    stage.sets[1].draw = None
    for number in range(20):
        stage.loss(number)


def test_symbolic_links_are_samples(base, tmp_path):
    write_samples(tmp_path / "there", count=2)
    (tmp_path / "data").mkdir()
    for number in range(2):
        (tmp_path / "data" / f"link{number}").symlink_to(tmp_path / "there" / str(number))
    data = DataSet(str(tmp_path / "data"), rename={"flash": "image"})
    assert len(find_samples(data, CHANNELS)) == 2
    (tmp_path / "data" / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"gone is a link to .*nowhere, which is not there: mend"):
        find_samples(data, CHANNELS)


# Weights of pixels


def test_mirror_is_for_packs(base, tmp_path):
    folder = write_samples(tmp_path / "samples", 1)
    with pytest.raises(ConfigError, match="samples is a folder of pictures; mirror is for packs"):
        stage_for(team_config(folder, base, tmp_path / "run", data=(DataSet(str(folder), mirror=True),)))


def test_a_mask_weighs_pixels(base, tmp_path):
    folder = tmp_path / "data" / "a"
    picture(folder / "albedo.png", (200, 10, 10))
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :16], mask[:16, 16] = 255, 255
    Image.fromarray(mask).save(folder / "weight.png")
    picture(tmp_path / "data" / "b" / "albedo.png")  # has no mask: all of it counts
    made = sample_set(DataSet(str(tmp_path / "data"), mask="weight"), base, tmp_path)
    weights = made.cache[Picture(folder / "weight.png", MASK)]
    assert weights.shape == (1, 16, 16)
    assert (weights[0, :, :8] == 1).all() and (weights[0, :8, 8] == 0.5).all() and not weights[0, 8:, 8:].any()
    random = np.random.default_rng(0)
    batches = [made.draw(2, 16, random).weight for _ in range(20)]
    assert {float(w.mean()) for b in batches if b is not None for w in b} == {float(weights.mean()), 1.0}


def test_pixels_of_weight_zero_teach_nothing(base, tmp_path):
    write_samples(tmp_path / "data")
    stage = stage_for(team_config(tmp_path / "data", base, tmp_path / "run"))
    latents = {name: torch.randn(2, 4, 8, 8) for name in ("image", "albedo")}
    half = torch.ones(2, 1, 8, 8)
    half[..., 4:] = 0
    losses = {}
    for name, weight in (("all", None), ("ones", torch.ones(2, 1, 8, 8)), ("half", half), ("none", 0 * half)):
        batch = Batch(latents, weight)
        losses[name] = float(stage.loss_of(batch, ["image"], ["albedo"], torch.Generator().manual_seed(0)).detach())
    assert losses["all"] == losses["ones"] and 0 < losses["half"] < losses["all"] and losses["none"] == 0


# Files


def test_latents_are_encoded_once_and_equal_pictures_kept_once(base, tmp_path):
    colours = {"a": (10, 20, 30), "b": (200, 100, 0), "c": (10, 20, 30)}
    files = [Picture(picture(tmp_path / f"{name}.png", colour, (16, 8)), "albedo") for name, colour in colours.items()]
    frozen = load_base(base)
    cache = LatentCache(frozen, tmp_path / "latents.safetensors")
    cache.fill(files, batch=2)
    assert torch.equal(cache[files[0]], cache[files[2]]) and not torch.equal(cache[files[0]], cache[files[1]])
    expected = frozen.encode(to_pixels([load_picture(files[1].path, "albedo")]))[0]
    torch.testing.assert_close(cache[files[1]], expected, atol=2e-3, rtol=2e-3)
    assert cache.counts == [2]

    frozen.encode = None  # a second run has nothing to encode
    again = LatentCache(frozen, tmp_path / "latents.safetensors")
    again.fill(files)
    assert all(torch.equal(again[file], cache[file]) for file in files)


def test_a_picture_that_changed_is_encoded_again(base, tmp_path):
    frozen = load_base(base)
    file = Picture(picture(tmp_path / "a.png", (10, 20, 30), (16, 8)), "albedo")
    cache = LatentCache(frozen, tmp_path / "latents.safetensors")
    cache.fill([file])
    before = cache[file]
    picture(tmp_path / "a.png", (200, 20, 30), (16, 16))
    again = LatentCache(frozen, tmp_path / "latents.safetensors")
    again.fill([file])
    assert again[file].shape == (4, 8, 8) and before.shape == (4, 4, 8)


def test_a_cache_that_is_cut_short_or_of_another_autoencoder_is_made_anew(base, tmp_path):
    file = Picture(picture(tmp_path / "a.png", (10, 20, 30), (16, 8)), "albedo")
    frozen, path = load_base(base), tmp_path / "latents.safetensors"
    LatentCache(frozen, path).fill([file])
    path.write_bytes(path.read_bytes()[:-10])
    assert LatentCache(frozen, path).counts == []
    LatentCache(frozen, path).fill([file])
    with torch.no_grad():
        next(frozen.vae.parameters()).add_(1)
    assert LatentCache(frozen, path).counts == []


def test_large_pictures_are_reduced_and_odd_ones_cut_to_whole_cells(base, tmp_path):
    file = picture(tmp_path / "a.png", (10, 20, 30), (101, 51))
    cache = LatentCache(load_base(base), tmp_path / "latents.safetensors")
    pictures = [Picture(file, "albedo"), Picture(file, "albedo", 25)]
    cache.fill(pictures)
    assert [cache[p].shape for p in pictures] == [(4, 25, 50), (4, 12, 25)]


def test_arrays_keep_what_pictures_cannot(tmp_path):
    values = np.random.default_rng(0).normal(0, 1, (6, 5, 3)).astype(np.float32)
    np.save(tmp_path / "halfway.npy", values)
    np.testing.assert_array_equal(load_picture(tmp_path / "halfway.npy", "halfway"), values)
    np.testing.assert_array_equal(load_picture(tmp_path / "halfway.npy", "albedo"), values.clip(0, 1))


def _other_size(folder):
    picture(folder / "a" / "depth.png", 5, (32, 30))
    return r"a/depth.png is 32 x 30 pixels, but albedo.png beside it is 32 x 32; all pictures of a sample"


def _other_mask(folder):
    picture(folder / "b" / "weight.png", 5, (8, 8))
    return r"b/weight.png is 8 x 8 pixels, but albedo.png beside it"


def _too_small(folder):
    for name in ("albedo", "image"):
        picture(folder / "c" / f"{name}.png", 5, (40, 12))
    return r"c/albedo.png is 40 x 12 pixels, too small for crops of 16; lower crop"


def _no_picture(folder):
    (folder / "a" / "albedo.png").write_bytes(b"not a picture")
    return r"a/albedo.png is not a readable picture"


def _cut_short(folder):
    whole = (folder / "a" / "albedo.png").read_bytes()
    (folder / "a" / "albedo.png").write_bytes(whole[: len(whole) // 2])
    return r"a/albedo.png cannot be read"


def _pickled_array(folder):
    np.save(folder / "a" / "depth.npy", np.array([{"a": 1}]), allow_pickle=True)
    return r"a/depth.npy is not a readable picture"


@pytest.mark.parametrize("spoil", [_other_size, _other_mask, _too_small, _no_picture, _cut_short, _pickled_array])
def test_a_file_that_does_not_fit_is_named(base, tmp_path, spoil):
    for name in ("a", "b"):
        for channel in ("albedo", "image"):
            Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(
                picture(tmp_path / "data" / name / f"{channel}.png")
            )
        picture(tmp_path / "data" / name / "weight.png")
    words = spoil(tmp_path / "data")
    data = (DataSet(str(tmp_path / "data"), mask="weight"),)
    with pytest.raises(ConfigError, match=words):
        stage_for(team_config(None, base, tmp_path / "run", data=data))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"given": ("foo",)}, "given names 'foo', which the team has not"),
        ({"rename": {"flash": "imgae"}}, "rename names 'imgae'"),
        ({"mask": "absent"}, "has the mask absent.png"),
        ({"folder": "nowhere"}, "nowhere is not there"),
    ],
)
def test_a_set_that_does_not_fit_the_team_gets_a_sentence(base, tmp_path, changes, words):
    write_samples(tmp_path / "data", count=1)
    data = (DataSet(**{"folder": str(tmp_path / "data"), "rename": {"flash": "image"}} | changes),)
    with pytest.raises(ConfigError, match=words):
        stage_for(team_config(None, base, tmp_path / "run", data=data))


def test_an_empty_data_folder_is_named(base, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty holds no <sample>/<channel>.png"):
        stage_for(team_config(tmp_path / "empty", base, tmp_path))


def test_a_crop_that_the_base_cannot_take_gets_a_sentence(base, tmp_path):
    write_samples(tmp_path / "data", count=1)
    for crop, words in ((18, "crop is 18; .* takes multiples of 4 pixels of at most 64"), (68, "crop is 68")):
        with pytest.raises(ConfigError, match=words):
            stage_for(team_config(tmp_path / "data", base, tmp_path, crop=crop))


def test_validation_and_pictures_do_not_touch_the_training(base, tmp_path):
    write_samples(tmp_path / "data")
    validation = (DataSet(str(tmp_path / "data"), rename={"flash": "image"}, limit=2),)
    options = {"steps": 6, "save_every": 2}
    plain = train(team_config(tmp_path / "data", base, tmp_path / "plain", **options))
    shown = train(
        team_config(tmp_path / "data", base, tmp_path / "shown", **options, validation=validation, tensorboard=True,
                    samples=2, sample_steps=2)
    )  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(plain.params, shown.params, strict=True))
    assert "validation_loss" in (tmp_path / "shown" / "log.jsonl").read_text()
