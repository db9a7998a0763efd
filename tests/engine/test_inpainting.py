# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of pictures made anew, with tiny real teams: what is known stays, channels go together, mistakes are sentences."""

from __future__ import annotations

import numpy as np
import pytest

from blender_addon.wire import ChannelImage, Submit
from engine_server import channels
from engine_server.errors import TaskError
from engine_server.integrate import normals_from_height
from engine_server.runner import TaskRunner

SIDE = 40


@pytest.fixture(scope="module")
def runner():
    """One for all."""
    return TaskRunner()


def surface(height: int = SIDE, width: int = SIDE) -> dict[str, ChannelImage]:
    """All maps of a bumpy surface that tiles."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    relief = 0.02 * (np.sin(2 * np.pi * x / width * 2) + np.cos(2 * np.pi * y / height))
    normals = normals_from_height(relief, periodic=True)
    unit = (relief - relief.min()) / (relief.max() - relief.min())
    grey = {n: random.random((height, width, 1), np.float32) for n in ("roughness", "metalness")}
    return {
        "albedo": ChannelImage(random.random((height, width, 3), np.float32), "scene-linear"),
        **{name: ChannelImage(values, "data") for name, values in grey.items()},
        "normals": ChannelImage(normals, "tangent-normal"),
        "height": ChannelImage(unit[..., None].astype(np.float32), "data"),
    }


def mask_of(rows, columns, height: int = SIDE, width: int = SIDE, value: float = 1.0) -> ChannelImage:
    """A box that is made anew."""
    mask = np.zeros((height, width, 1), np.float32)
    mask[slice(*rows), slice(*columns)] = value
    return ChannelImage(mask, "data")


def anew(runner, models, inputs, outputs=(), model="tiny", **options):
    """Run a job directly."""
    return runner.run(Submit("j", "inpaint", str(models / model), inputs, outputs, options), lambda *step: None)


@pytest.mark.parametrize("model", ["tiny", "maker"])
def test_outside_the_mask_nothing_changes_and_inside_everything_does(runner, models, model):
    given, mask = surface(), mask_of((10, 20), (12, 26))
    made, info = anew(runner, models, {**given, "mask": mask}, model=model, seed=3)
    hole = mask.data[..., 0] > 0
    assert set(made) == set(given) and info["seed"] == 3 and "note" not in info
    for name, output in made.items():
        before = given[name]
        assert output.space == before.space and output.data.shape == before.data.shape
        assert np.array_equal(output.data[~hole], before.data[~hole]), name
        assert np.isfinite(output.data).all() and not np.allclose(output.data[hole], before.data[hole], atol=1e-3)
    assert np.allclose(np.linalg.norm(made["normals"].data, axis=-1), 1.0, atol=1e-4)


def test_the_rim_does_not_show(runner, models):
    flat = {"albedo": ChannelImage(np.full((SIDE, SIDE, 3), 0.4, np.float32), "scene-linear")}
    made = anew(runner, models, {**flat, "mask": mask_of((8, 30), (8, 30))})[0]["albedo"].data
    display = channels.to_model("albedo", ChannelImage(made, "scene-linear"))
    steps = np.abs(np.diff(display, axis=1))
    assert steps[10:28, 7].mean() < 2 * steps[10:28, 9:28].mean() + 1e-3


def test_the_seed_and_the_known_part_decide(runner, models):
    given = {"albedo": surface()["albedo"], "mask": mask_of((10, 20), (12, 26))}
    one, again, other = (anew(runner, models, given, seed=seed)[0]["albedo"].data for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.allclose(one, other, atol=1e-3)
    dark = {**given, "albedo": ChannelImage(given["albedo"].data * 0.2, "scene-linear")}
    assert anew(runner, models, dark, seed=1)[0]["albedo"].data[10:20, 12:26].mean() < one[10:20, 12:26].mean()


def test_what_the_mask_hides_has_no_say(runner, models):
    given, mask = surface(), mask_of((10, 20), (12, 26))
    other = given["albedo"].data.copy()
    other[10:20, 12:26] = 0.9
    for model in ("tiny", "maker"):
        made = [
            anew(runner, models, {"albedo": ChannelImage(albedo, "scene-linear"), "mask": mask}, model=model)[0]["albedo"].data
            for albedo in (given["albedo"].data, other)
        ]
        assert np.allclose(*made, atol=1e-5), model


def test_a_channel_that_is_not_requested_is_known_as_a_whole(runner, models):
    given, mask = surface(), mask_of((10, 20), (12, 26))
    two = {"albedo": given["albedo"], "roughness": given["roughness"], "mask": mask}
    made, _ = anew(runner, models, two, ("roughness",))
    assert set(made) == {"roughness"}
    bright = {**two, "albedo": ChannelImage(np.ones_like(given["albedo"].data), "scene-linear")}
    assert not np.allclose(anew(runner, models, bright, ("roughness",))[0]["roughness"].data, made["roughness"].data, atol=1e-4)


def test_a_soft_mask_mixes_old_and_new(runner, models):
    given = surface()["albedo"]
    half, full = (
        anew(runner, models, {"albedo": given, "mask": mask_of((10, 20), (12, 26), value=value)})[0]["albedo"].data
        for value in (0.5, 1.0)
    )
    old, mixed, new = (np.clip(x[10:20, 12:26], 0, 1) ** (1 / 2.2) for x in (given.data, half, full))
    assert np.allclose(mixed, (old + new) / 2, atol=1e-4)


def test_a_tile_is_mended_over_its_border(runner, models):
    given, mask = surface(), mask_of((0, 4), (0, SIDE))
    mask.data[-4:] = 1
    whole, _ = anew(runner, models, {**given, "mask": mask}, seamless=1)
    hole = mask.data[..., 0] > 0
    assert all(np.array_equal(output.data[~hole], given[name].data[~hole]) for name, output in whole.items())
    small = mask_of((0, 3), (10, 14))
    small.data[-3:, 10:14] = 1
    flat = ChannelImage(np.full((SIDE, SIDE, 3), 0.4, np.float32), "scene-linear")
    made = anew(runner, models, {"albedo": flat, "mask": small}, seamless=1)[0]["albedo"].data
    across = np.abs(made[0, 10:14] - made[-1, 10:14]).mean()
    within = np.abs(np.diff(made[-3:, 10:14], axis=0)).mean()
    assert across < 3 * within + 1e-3


def test_new_heights_are_in_the_units_of_the_old_ones(runner, models):
    given = surface()
    scaled = {**given, "height": ChannelImage(given["height"].data * 0.25 + 0.5, "data"), "mask": mask_of((10, 20), (12, 26))}
    made, plain = (anew(runner, models, i, ("normals", "height"))[0]["height"].data for i in (scaled, {**scaled, **given}))
    assert np.allclose(made, plain * 0.25 + 0.5, atol=0.02)
    with pytest.raises(TaskError, match="give the normals, too"):
        anew(runner, models, {"height": given["height"], "mask": scaled["mask"]})


def test_maps_of_several_sizes_keep_them(runner, models):
    given = {"albedo": surface(80, 80)["albedo"], "roughness": surface()["roughness"], "mask": mask_of((10, 20), (12, 26))}
    made, _ = anew(runner, models, given)
    assert made["albedo"].data.shape == (80, 80, 3) and made["roughness"].data.shape == (40, 40, 1)
    assert np.array_equal(made["albedo"].data[:16], given["albedo"].data[:16])


def test_bright_renders_and_alpha_stay(runner, models):
    picture = np.random.default_rng(0).random((SIDE, SIDE, 4), np.float32) * 5
    mask = mask_of((10, 20), (12, 26))
    made = anew(runner, models, {"image": ChannelImage(picture, "scene-linear"), "mask": mask}, model="maker")[0]["image"].data
    assert made.shape == (SIDE, SIDE, 4) and np.array_equal(made[..., 3], picture[..., 3])
    assert np.array_equal(made[mask.data[..., 0] == 0], picture[mask.data[..., 0] == 0]) and made[10:20, 12:26, :3].max() > 0.5


def test_light_beside_a_bright_render_is_as_bright_in_the_hole_as_around_it(runner, models):
    even = {"image": 4.0, "diffuseshading": 0.5}
    given = {name: ChannelImage(np.full((SIDE, SIDE, 3), value, np.float32), "scene-linear") for name, value in even.items()}
    for model in ("regressor", "maker"):
        made, info = anew(runner, models, {**given, "mask": mask_of((10, 20), (12, 26))}, model=model)
        assert info["exposure"] == pytest.approx(0.2, rel=1e-3)
        for name, value in even.items():
            assert made[name].data[10:20, 12:26].mean() == pytest.approx(value, rel=0.25), (model, name)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (17, 9)], ids=str)
def test_odd_sizes_and_masks_over_everything(runner, models, size):
    given = {"albedo": ChannelImage(np.random.default_rng(0).random((*size, 3), np.float32), "scene-linear")}
    for options in ({}, {"seamless": 1}, {"repeats": 2}):
        mask = ChannelImage(np.ones((*size, 1), np.float32), "data")
        made, _ = anew(runner, models, {**given, "mask": mask}, **options)
        assert np.isfinite(made["albedo"].data).all() and made["albedo"].data.shape == (*size, 3)


def test_mistakes_are_sentences(runner, models):
    given, mask = surface(), mask_of((10, 20), (12, 26))
    for inputs, outputs, words in (
        ({"albedo": given["albedo"]}, (), "needs the channel 'mask'"),
        ({"mask": mask}, (), "Nothing is given beside the mask"),
        ({"albedo": given["albedo"], "mask": mask_of((0, 0), (0, 0))}, (), "mask is empty"),
        ({"albedo": given["albedo"], "mask": mask_of((1, 2), (1, 2), 20, 40)}, (), "proportions .*mask 40 x 20"),
        ({"albedo": given["albedo"], "mask": mask}, ("roughness",), "Of roughness nothing is known"),
        ({"image": given["albedo"], "mask": mask}, (), "cannot make 'image'"),
    ):
        with pytest.raises(TaskError, match=words):
            anew(runner, models, inputs, outputs)


def test_an_engine_mends_and_says_how(client):
    inputs = {**surface(), "mask": mask_of((10, 20), (12, 26))}
    made = client.run(Submit("mend", "inpaint", "tiny", inputs, (), {"repeats": 2}), timeout=60)
    assert set(made.outputs) == set(inputs) - {"mask"}
    made = client.run(Submit("on", "inpaint", "regressor", inputs, (), {}), timeout=60)
    assert set(made.outputs) == set(inputs) - {"mask"} and "what lies around it" in made.info["note"]
